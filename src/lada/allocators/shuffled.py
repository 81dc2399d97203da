"""A control of LaDa's filter: whether it matters what came of its trials."""

from lada.allocators.base import ALLOCATORS, Candidates
from lada.allocators.lada import LadaOptions, Learnability, Tried, needs_of
from lada.core.seeds import generator


@ALLOCATORS.register(
    "lada_shuffled",
    options=LadaOptions,
    status="our reading",
    needs=needs_of,
    by_order="places are drawn, as by `lada`",
)
class Shuffled(Learnability):
    """LaDa's filter with the rewards of its trials dealt out anew among the groups: a control, for benchmarks."""

    def credit(self, candidates: Candidates, tried: Tried) -> Tried:
        """See Learnability.credit."""
        order = generator(candidates.seed, "shuffled").permutation(len(tried.passed))
        return Tried(tried.groups, [tried.passed[i] for i in order], tried.probes)
