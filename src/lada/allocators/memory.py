"""Rows of a state by the ids of samples, so that neither their order nor which of them are there matters."""

from collections.abc import Sequence

import numpy as np

from lada.core.seeds import seed_of
from lada.core.terms import Sample


def keys_of(samples: Sequence[Sample]) -> np.ndarray:
    """Return a number for the id of each sample, int64 [n]: an array in a state that says whose its rows are."""
    return np.array([seed_of(sample.id) for sample in samples], np.int64)


def places(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the place of each of the keys `wanted` [n] among those `known` [m], int64 [n]; -1 where it has none."""
    place = {key: row for row, key in enumerate(known.tolist())}
    return np.array([place.get(key, -1) for key in wanted.tolist()], np.int64)
