"""Rows of a state by sample id, so that neither order nor missing samples matter."""

from collections.abc import Sequence

import numpy as np

from lada.core.seeds import seed_of
from lada.core.terms import Sample


def keys_of(samples: Sequence[Sample]) -> np.ndarray:
    """Return a number for the id of each sample, int64 [n], which identifies its row in a state's arrays."""
    return np.array([seed_of(sample.id) for sample in samples], np.int64)


def places(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the index of each of the keys `wanted` [n] in `known` [m], int64 [n]; -1 if it is absent."""
    place = {key: row for row, key in enumerate(known.tolist())}
    return np.array([place.get(key, -1) for key in wanted.tolist()], np.int64)
