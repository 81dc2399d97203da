"""A control of LaDa's filter: it shows whether it matters which questions a student can answer itself."""

import numpy as np

from lada.allocators.base import ALLOCATORS, Candidates
from lada.allocators.lada import LadaOptions, Reachable
from lada.allocators.memoryless import COMPARING
from lada.core.seeds import generator


@ALLOCATORS.register(
    "lada_shuffled",
    options=LadaOptions,
    status="our reading",
    needs=COMPARING,
    by_order="places are drawn",
    tags=("labels", "feedback", "self-knowledge"),
)
class LadaShuffled(Reachable):
    """LaDa's filter with permuted verdicts, a control for benchmarks: as many own paths, on random questions."""

    def own(self, candidates: Candidates) -> np.ndarray:
        """See Reachable.own. Verdicts are permuted over the questions of all domains."""
        return generator(candidates.seed, "shuffled").permutation(super().own(candidates))
