"""A masked adapter: numbers modulo 2^64 as a safetensors file, with the names and shapes that they have in clear."""

import json
import math
from collections.abc import Mapping

import numpy as np
from safetensors.numpy import save

from lada.codecs.table import LIMIT
from lada.codecs.tensors import read
from lada.core.errors import CodecError

KIND = "masked_adapter"
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes, sorted by name."""


def encode(numbers: np.ndarray, shapes: Shapes) -> bytes:
    """Return masked numbers, uint64 [n + 1], as bytes: n of the weights, in the order of `shapes`, and the samples."""
    return save({KIND: np.ascontiguousarray(numbers, np.uint64)}, metadata={"kind": KIND, "shapes": json.dumps(shapes)})


def decode(data: bytes, *, limit: int = LIMIT) -> tuple[np.ndarray, Shapes]:
    """Return the masked numbers and the names and shapes.

    Raises CodecError, and nothing else, for anything that `encode` would not write and for more than `limit` bytes.
    """
    arrays, header = read(data, KIND, limit)
    try:
        told = [(name, tuple(shape)) for name, shape in json.loads(header["shapes"])]
    except Exception as error:  # there is no telling what a reader raises on bytes made to break it
        raise CodecError(f"{KIND}: not readable: {type(error).__name__}") from error
    sizes = [size for _, shape in told for size in shape]
    names = [name for name, _ in told]
    if not all(type(size) is int and 0 <= size <= limit for size in sizes) or not all(type(n) is str for n in names):
        raise CodecError(f"{KIND}: shapes that are none")
    if names != sorted(set(names)) or header.get("kind") != KIND:
        raise CodecError(f"{KIND}: of another kind, or a name that is there twice or out of order")
    numbers = arrays.get(KIND)
    if len(arrays) != 1 or numbers is None or numbers.dtype != np.uint64:
        raise CodecError(f"{KIND}: other numbers than masked ones; expected one array of uint64")
    if numbers.shape != (1 + sum(math.prod(shape) for _, shape in told),):
        raise CodecError(f"{KIND}: not as many numbers as its shapes have, and one for the samples")
    return numbers.copy(), tuple(told)


def shapes_of(weights: Mapping[str, np.ndarray]) -> Shapes:
    """Return names and shapes, sorted by name."""
    return tuple((name, weights[name].shape) for name in sorted(weights))
