"""All weights of an adapter as one vector, and back."""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

from lada.core.errors import CodecError

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


def write_outline(weights: Mapping[str, np.ndarray]) -> str:
    """Return names and shapes of an adapter's weights as JSON, by ascending names."""
    return json.dumps([(name, weights[name].shape) for name in sorted(weights)])


def read_outline(text: str, kind: str) -> Shapes:
    """Return names and shapes. Raises CodecError, and nothing else, for a text that `write_outline` would not write."""
    try:
        shapes = [(name, tuple(shape)) for name, shape in json.loads(text)]
    except Exception as error:  # there is no telling what a reader raises on bytes made to break it
        raise CodecError(f"{kind}: not readable: {type(error).__name__}") from error
    names = [name for name, _ in shapes]
    if not all(is_shape(shape) for _, shape in shapes):
        raise CodecError(f"{kind}: shapes that are none")
    if not all(type(name) is str for name in names) or names != sorted(set(names)):
        raise CodecError(f"{kind}: a name that is no text, is there twice or is out of order")
    return shapes


def is_shape(shape: Sequence[object]) -> bool:
    """Return whether this is a shape, and of no more numbers than an adapter can have."""
    sizes = [size for size in shape if type(size) is int and 0 <= size <= MOST]
    return len(sizes) == len(shape) <= MOST_AXES and math.prod(max(size, 1) for size in sizes) <= MOST
