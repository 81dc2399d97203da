"""A control of LaDa's filter: it shows whether it matters whose path is studied where both parties are right."""

import numpy as np

from lada.allocators.base import ALLOCATORS, Candidates
from lada.allocators.lada import LadaOptions, Reachable, teachable
from lada.allocators.memoryless import COMPARING
from lada.core.seeds import generator


@ALLOCATORS.register(
    "lada_coin",
    options=LadaOptions,
    status="our reading",
    needs=COMPARING,
    by_order="places are drawn",
    tags=("labels", "feedback", "self-knowledge"),
)
class LadaCoin(Reachable):
    """LaDa's filter with a coin: where either path could be studied, each is taken half of the time."""

    def own(self, candidates: Candidates) -> np.ndarray:
        """See Reachable.own. Each question of each round has a coin of its own."""
        either = teachable(candidates, gold=self.options.gold, vouch=self.options.vouch)
        heads = generator(candidates.seed, "coin").random(len(either)) < 0.5
        return super().own(candidates) & (heads | ~either)
