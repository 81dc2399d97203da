"""FlexLoRA (arXiv 2402.11505): the average of the products, cut to each client's rank."""

from collections.abc import Mapping

from lada.aggregators.base import AGGREGATORS, Weights
from lada.aggregators.bounded import Bounded, Clipped
from lada.aggregators.bounding import Merged
from lada.aggregators.factors import average_products, fit


@AGGREGATORS.register("flexlora", options=Clipped, paper="arXiv 2402.11505", status="our reading")
class FlexLora(Bounded):
    """The average of LoRA's products by private samples, within bounds. Each client gets the nearest of its rank."""

    name = "flexlora"
    any_rank = True

    def merge(
        self, weights: Mapping[str, Weights], samples: Mapping[str, int], starts: Mapping[str, Weights]
    ) -> Merged:
        """See Bounded.merge."""
        return average_products(weights, samples, starts, self.bounds)

    def fitted(self, common: Weights, own: Weights) -> Weights:
        """See Bounded.fitted."""
        return fit(common, own)
