"""HetLoRA (arXiv 2401.06432): factors padded to the largest rank and averaged, cut to each client's rank."""

from collections.abc import Mapping

from lada.aggregators.base import AGGREGATORS, Weights
from lada.aggregators.bounded import Bounded, Clipped
from lada.aggregators.bounding import Merged
from lada.aggregators.factors import bounded_padded, fit


@AGGREGATORS.register("hetlora", options=Clipped, paper="arXiv 2401.06432", status="our reading")
class HetLora(Bounded):
    """LoRA's factors padded with zeros, averaged by the norm of their product within bounds, and cut to each rank."""

    name = "hetlora"
    any_rank = True

    def merge(
        self, weights: Mapping[str, Weights], samples: Mapping[str, int], starts: Mapping[str, Weights]
    ) -> Merged:
        """See Bounded.merge."""
        return bounded_padded(weights, starts, self.bounds)

    def fitted(self, common: Weights, own: Weights) -> Weights:
        """See Bounded.fitted."""
        return fit(common, own)
