"""The single adapter closest to the others (Blanchard et al. 2017, arXiv 1703.02757)."""

from lada.aggregators.base import AGGREGATORS
from lada.aggregators.closest import Closest
from lada.aggregators.coordinates import Hostile


@AGGREGATORS.register("krum", options=Hostile, paper="arXiv 1703.02757")
class Krum(Closest):
    """The adapter closest to the others."""

    name = "krum"

    def taken(self, clients: int) -> int:
        """See Closest.taken."""
        return 1
