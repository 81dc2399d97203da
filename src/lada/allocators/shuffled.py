"""A control of LaDa's filter: whether it matters what came of its trials."""

from dataclasses import replace

import numpy as np

from lada.allocators.base import ALLOCATORS, Candidates
from lada.allocators.lada import LadaOptions, Learnability, Race, needs_of
from lada.core.seeds import generator


@ALLOCATORS.register(
    "lada_shuffled",
    options=LadaOptions,
    status="our reading",
    needs=needs_of,
    by_order="places are drawn, as by `lada`",
)
class Shuffled(Learnability):
    """LaDa's filter with what its copies solved dealt out between them by lot: a control, for benchmarks."""

    def credit(self, candidates: Candidates, race: Race) -> Race:
        """See Learnability.credit."""
        given = generator(candidates.seed, "shuffled").random(len(race.one)) < 0.5
        one, other = np.where(given, race.one, race.other), np.where(given, race.other, race.one)
        return replace(race, one=one, other=other)
