"""The coordinate-wise median (Yin et al. 2018, arXiv 1803.01498)."""

from lada.aggregators.base import AGGREGATORS, Weights
from lada.aggregators.coordinates import Hostile, Robust, medians


@AGGREGATORS.register("median", options=Hostile, paper="arXiv 1803.01498")
class Median(Robust):
    """The median of the clients' values, coordinate by coordinate."""

    name = "median"

    def combine(self, stacks: Weights) -> Weights:
        """See Robust.combine."""
        return medians(stacks)
