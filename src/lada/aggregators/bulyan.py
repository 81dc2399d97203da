"""Bulyan (El Mhamdi et al. 2018, arXiv 1802.07927): Multi-Krum first, then coordinate by coordinate."""

from collections.abc import Sequence

import numpy as np

from lada.aggregators.base import AGGREGATORS
from lada.aggregators.closest import Closest
from lada.aggregators.coordinates import Hostile


@AGGREGATORS.register("bulyan", options=Hostile, paper="arXiv 1802.07927")
class Bulyan(Closest):
    """Multi-Krum's selection, then coordinate by coordinate the mean of the values nearest the median."""

    name = "bulyan"

    @property
    def least(self) -> int:
        """See Robust.least."""
        return 4 * self.malicious + 3

    def taken(self, clients: int) -> int:
        """See Closest.taken."""
        return clients - 2 * self.malicious

    def of(self, kept: Sequence[Sequence[np.ndarray]]) -> Sequence[np.ndarray]:
        """See Closest.of."""
        from flwr.serverapp.strategy.bulyan import aggregate_n_closest_weights

        middle = [np.median(layers, axis=0) for layers in zip(*kept, strict=True)]
        return aggregate_n_closest_weights(middle, [list(each) for each in kept], len(kept) - 2 * self.malicious)
