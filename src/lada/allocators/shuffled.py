"""A control of LaDa's filter: it shows whether the outcome of the trials matters."""

from dataclasses import replace

from lada.allocators.base import ALLOCATORS, Candidates
from lada.allocators.lada import LadaOptions, Learnability, Race, needs_of
from lada.core.seeds import generator


@ALLOCATORS.register(
    "lada_shuffled",
    options=LadaOptions,
    status="our reading",
    needs=needs_of,
    by_order="places are drawn, as by `lada`",
    tags=("labels", "feature", "feedback"),
)
class Shuffled(Learnability):
    """LaDa's filter, but a coin decides whether its two copies swap their rewards: a control, for benchmarks."""

    def credit(self, candidates: Candidates, race: Race) -> Race:
        """See Learnability.credit. On tails the rewards change places, and the worse copy is preferred."""
        texts = [path.text for path in candidates.teacher_paths]  # or the coin would fall alike in all worlds
        if generator(candidates.seed, "shuffled", *texts).random() < 0.5:
            return race
        return replace(race, one=race.other, other=race.one)
