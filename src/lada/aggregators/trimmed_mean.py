"""The coordinate-wise trimmed mean (Yin et al. 2018, arXiv 1803.01498)."""

import numpy as np

from lada.aggregators.base import AGGREGATORS, Weights
from lada.aggregators.coordinates import Hostile, Robust


@AGGREGATORS.register("trimmed_mean", options=Hostile, paper="arXiv 1803.01498")
class TrimmedMean(Robust):
    """The mean without the `malicious` smallest and largest values, coordinate by coordinate."""

    name = "trimmed_mean"

    def combine(self, stacks: Weights) -> Weights:
        """See Robust.combine."""
        return {name: self._trimmed(stack) for name, stack in stacks.items()}

    def _trimmed(self, stack: np.ndarray) -> np.ndarray:
        from flwr.serverapp.strategy.fedtrimmedavg import trim_mean

        # Flower takes a share and rounds down; this one is never near the edge between two numbers of clients.
        return trim_mean(stack, (self.malicious + 0.5) / (len(stack) + 1)) if self.malicious else stack.mean(axis=0)
