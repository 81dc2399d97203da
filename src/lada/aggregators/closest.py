"""Base of the rules that select the adapters closest to the others: Flower's Multi-Krum, applied to each named
array."""

from collections.abc import Sequence

import numpy as np

from lada.aggregators.base import Weights
from lada.aggregators.coordinates import Robust


class Closest(Robust):
    """Base of rules that take some adapters as a whole."""

    @property
    def least(self) -> int:
        """See Robust.least."""
        return 2 * self.malicious + 3

    def taken(self, clients: int) -> int:
        """Return how many of `clients` adapters are taken."""
        raise NotImplementedError

    def combine(self, stacks: Weights) -> Weights:
        """See Robust.combine."""
        return dict(zip(stacks, self.of(self._selected(stacks)), strict=True))

    def of(self, kept: Sequence[Sequence[np.ndarray]]) -> Sequence[np.ndarray]:
        """Return the combination of the taken adapters, each a list of arrays: their mean."""
        return [np.mean(layers, axis=0) for layers in zip(*kept, strict=True)]

    def _selected(self, stacks: Weights) -> list[list[np.ndarray]]:
        from flwr.app import Array, ArrayRecord, RecordDict
        from flwr.serverapp.strategy.multikrum import select_multikrum

        clients = len(next(iter(stacks.values())))
        received = [
            RecordDict({"adapter": ArrayRecord({name: Array(stack[row]) for name, stack in stacks.items()})})
            for row in range(clients)
        ]
        chosen = select_multikrum(received, self.malicious, self.taken(clients))
        return [each.array_records["adapter"].to_numpy_ndarrays() for each in chosen]
