"""One adapter of several whose numbers an adapter may hold: those with which that cannot be are left out."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from lada.codecs import adapters
from lada.core.errors import FederationError
from lada.rounds.aggregating import Weights
from lada.rounds.bounding import Merged

Merge = Callable[[Mapping[str, Weights], Mapping[str, int], Mapping[str, Weights]], Merged]
"""Makes one adapter of those by client, given the private samples behind each and what clients started from."""


def merge_in_range(
    merge: Merge, weights: Mapping[str, Weights], samples: Mapping[str, int], starts: Mapping[str, Weights]
) -> tuple[Merged, list[str]]:
    """Return what `merge` makes of adapters by client, as float32, and who was left out.

    Where it fails or gives numbers out of range, as a product of large factors does, the adapter with the greatest
    number is left out, and so on. Raises FederationError where that is so for a single one.
    """
    left, out = dict(weights), []
    while left:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                merged = merge(left, {client: samples[client] for client in left}, starts)
                result = {name: np.asarray(array, np.float32) for name, array in merged.weights.items()}
            if not any(map(adapters.fault, result.values())):
                return replace(merged, weights=result), out
        except (ArithmeticError, MemoryError, np.linalg.LinAlgError):
            pass
        greatest = {client: max(abs(array).max(initial=0.0) for array in left[client].values()) for client in left}
        worst = max(sorted(greatest), key=greatest.__getitem__)
        del left[worst]
        out.append(worst)
    raise FederationError("adapters: no average of them, nor any one alone, has numbers in range")
