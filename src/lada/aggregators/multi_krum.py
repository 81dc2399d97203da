"""Several adapters closest to the others (Blanchard et al. 2017, arXiv 1703.02757)."""

from lada.aggregators.base import AGGREGATORS
from lada.aggregators.closest import Closest
from lada.aggregators.coordinates import Hostile


@AGGREGATORS.register("multi_krum", options=Hostile, paper="arXiv 1703.02757")
class MultiKrum(Closest):
    """The mean of the adapters closest to the others, all but `malicious`."""

    name = "multi_krum"

    def taken(self, clients: int) -> int:
        """See Closest.taken."""
        return clients - self.malicious
