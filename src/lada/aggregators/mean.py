"""The mean by private samples (McMahan et al. 2017, arXiv 1602.05629), within bounds."""

from collections.abc import Mapping

from lada.aggregators.base import AGGREGATORS, Weights
from lada.aggregators.bounded import Bounded, Clipped
from lada.aggregators.bounding import Merged, bound
from lada.aggregators.coordinates import means, shares


@AGGREGATORS.register("mean", options=Clipped, paper="arXiv 1602.05629", status="our reading")
class Mean(Bounded):
    """The mean of the clients' weights by private samples, within bounds against a few hostile clients.

    The bounds are ours (see lada.aggregators.bounding). `malicious: 0` with `clip: null` gives the papers' mean.
    """

    name = "mean"

    def merge(
        self, weights: Mapping[str, Weights], samples: Mapping[str, int], starts: Mapping[str, Weights]
    ) -> Merged:
        """See Bounded.merge."""
        return bound(weights, starts, self.bounds, lambda clipped: means(clipped, shares(samples)))
