"""Aggregate a round's updates into numbers that an adapter can hold. Updates that prevent this are left out."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lada.aggregators.base import Aggregate, Aggregator, Update, Weights
from lada.codecs import adapters
from lada.core.errors import FederationError
from lada.core.needs import State


def aggregate_in_range(
    aggregator: Aggregator, state: State, updates: Mapping[str, Update]
) -> tuple[State, Aggregate, list[str]]:
    """Return the next state, the aggregated updates by client, as float32, and the clients left out.

    If an aggregator fails or its numbers are out of range, as products of large factors can be, the update with the
    largest number is left out, repeatedly. Raises FederationError if even a single update fails.
    """
    left, out = dict(updates), []
    while left:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                after, found = aggregator.aggregate(state, left)
                common = _single(found.weights)
                # Usually all continue with the same weights, which are then computed and sent once.
                of = {
                    client: common if weights is found.weights else _single(weights)
                    for client, weights in found.by_client.items()
                }
            if not any(adapters.fault(array) for each in (common, *of.values()) for array in each.values()):
                return after, replace(found, weights=common, by_client=of), out
        except (ArithmeticError, MemoryError, np.linalg.LinAlgError):
            pass
        greatest = {c: max(abs(array).max(initial=0.0) for array in left[c].weights.values()) for c in left}
        worst = max(sorted(greatest), key=greatest.__getitem__)
        del left[worst]
        out.append(worst)
    raise FederationError("adapters: neither their average nor any single one has numbers in range")


def _single(weights: Weights) -> Weights:
    return {name: np.asarray(array, np.float32) for name, array in weights.items()}
