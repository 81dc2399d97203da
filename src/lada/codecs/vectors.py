"""All weights of an adapter as one vector, and back."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

MOST, MOST_AXES = 2**40, 8
"""Numbers of a weight, and its axes."""
Shapes = list[tuple[str, tuple[int, ...]]]


def flat(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return all numbers of an adapter as one vector, float32 [n], by ascending names."""
    return np.concatenate(
        [np.zeros(0, np.float32), *(weights[name].astype(np.float32).ravel() for name in sorted(weights))]
    )


def named(vector: np.ndarray, shapes: Shapes) -> dict[str, np.ndarray]:
    """Return the weights of these names and shapes that lie in a vector one after another."""
    weights, at = {}, 0
    for name, shape in shapes:
        size = math.prod(shape)
        weights[name] = vector[at : at + size].reshape(shape)
        at += size
    return weights


def is_shape(shape: Sequence[object]) -> bool:
    """Return whether this is a shape, and of no more numbers than an adapter can have."""
    sizes = [size for size in shape if type(size) is int and 0 <= size <= MOST]
    return len(sizes) == len(shape) <= MOST_AXES and math.prod(max(size, 1) for size in sizes) <= MOST
