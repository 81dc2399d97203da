"""A masked adapter: numbers modulo 2^64 as a safetensors file, with their original names and shapes."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from lada.codecs.base import CODECS, Codec, Outlook, Reading, Text, Words
from lada.codecs.table import LIMIT
from lada.codecs.tensors import read, write
from lada.core.errors import CodecError
from lada.core.needs import State

KIND = "masked_adapter"
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes, sorted by name."""
EXPECTED = 8
"""Bytes of a number."""


class Masked(NamedTuple):
    """Numbers modulo 2^64: the weights, in the order of `shapes`, and the number of samples behind them."""

    numbers: np.ndarray
    shapes: Shapes


def encode(numbers: np.ndarray, shapes: Shapes) -> bytes:
    """Return masked numbers, uint64 [n + 1], as bytes: n of the weights, in the order of `shapes`, and the samples."""
    return write({KIND: np.ascontiguousarray(numbers, np.uint64)}, {"kind": KIND, "shapes": json.dumps(shapes)})


def decode(data: bytes, *, limit: int = LIMIT) -> Masked:
    """Return the masked numbers and the names and shapes.

    Raises only CodecError, for anything that `encode` would not write and for more than `limit` bytes.
    """
    arrays, header = read(data, KIND, limit)
    try:
        received = [(name, tuple(shape)) for name, shape in json.loads(header["shapes"])]
    except Exception as error:  # a reader may raise anything on bytes made to break it
        raise CodecError(f"{KIND}: not readable: {type(error).__name__}") from error
    sizes = [size for _, shape in received for size in shape]
    names = [name for name, _ in received]
    if not all(type(size) is int and 0 <= size <= limit for size in sizes) or not all(type(n) is str for n in names):
        raise CodecError(f"{KIND}: shapes that are none")
    if names != sorted(set(names)) or header.get("kind") != KIND:
        raise CodecError(f"{KIND}: of another kind, or a name that is there twice or out of order")
    numbers = arrays.get(KIND)
    if len(arrays) != 1 or numbers is None or numbers.dtype != np.uint64:
        raise CodecError(f"{KIND}: other numbers than masked ones; expected one array of uint64")
    if numbers.shape != (1 + sum(math.prod(shape) for _, shape in received),):
        raise CodecError(f"{KIND}: not as many numbers as its shapes have, and one for the samples")
    return Masked(numbers.copy(), tuple(received))


def shapes_of(weights: Mapping[str, np.ndarray]) -> Shapes:
    """Return names and shapes, sorted by name."""
    return tuple((name, weights[name].shape) for name in sorted(weights))


@CODECS.register(KIND, tags=("weights",))
class MaskedAdapters(Codec[Masked, Masked]):
    """An adapter under masks that cancel in the sum over all clients (secure aggregation)."""

    kind = KIND

    def encode(self, state: State, value: Masked) -> tuple[State, bytes]:
        """See Codec.encode."""
        return state, encode(*value)

    def decode(self, data: bytes, reading: Reading) -> Masked:
        """See Codec.decode. A masked number takes twice as many bytes as an unmasked one."""
        return decode(data, limit=2 * reading.receiver.limits.adapter_bytes)

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        return EXPECTED * outlook.numbers

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        yield from (("a name", name, False) for name, _ in decode(data, limit=len(data)).shapes)
