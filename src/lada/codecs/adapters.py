"""Adapter weights by name as a safetensors file, with the number of samples that is their weight in an average."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from lada.codecs.base import CODECS, Codec, Outlook, Reading, Text, Words
from lada.codecs.table import LIMIT, header_number
from lada.codecs.tensors import read, write
from lada.core.errors import CodecError
from lada.core.needs import State

KIND = "adapter"
MARK = "adapters"
"""The name of the format, in its own header."""
GREATEST = 1e4
"""The largest absolute value of a weight; in models that work, weights stay below 100."""

EXPECTED = 4
"""Bytes of a number: a float32."""


class Adapter(NamedTuple):
    """Weights by name, and how many private samples are behind them (>= 0)."""

    weights: Mapping[str, np.ndarray]
    samples: int


class Update(NamedTuple):
    """What a client writes: its weights, how many private samples are behind them, the weights that it started from,
    where the server has these too, and its name."""

    weights: Mapping[str, np.ndarray]
    samples: int
    start: Mapping[str, np.ndarray] | None
    client: str = ""


class Change(NamedTuple):
    """What is read of a codec that sends changes: weights less those that a client started from, and the digest of
    these."""

    weights: Mapping[str, np.ndarray]
    samples: int
    start: str


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """Return 16 hexadecimal digits that tell weights, as float32, from others."""
    found = sha256()
    for name in sorted(weights):
        array = weights[name].astype("<f4", order="C")
        found.update(f"{name}|{array.shape}|".encode("utf-8", "surrogatepass") + array.tobytes())
    return found.hexdigest()[:16]


def encode(weights: Mapping[str, np.ndarray], samples: int) -> bytes:
    """Return weights as float32, and `samples` (the private ones behind them, >= 0), as bytes.

    Raises CodecError for a type that float32 does not hold exactly, such as float64, and for values that `decode`
    would refuse.
    """
    for name, array in weights.items():
        if not np.can_cast(array.dtype, np.float32):
            raise CodecError(f"{MARK}: {name!r} is of type {array.dtype}; expected float32 or less")
    arrays = {name: array.astype(np.float32, order="C") for name, array in weights.items()}
    for name, array in arrays.items():
        if why := fault(array):
            raise CodecError(f"{MARK}: {name!r} holds {why}")
    header = {"kind": MARK, "samples": str(samples)}
    header_number(MARK, header, "samples")
    return write(arrays, header)


def decode(data: bytes, *, limit: int = LIMIT) -> Adapter:
    """Return the weights, float32, sorted by name, and the number of samples behind them.

    `limit` is the most bytes of `data`. Raises only CodecError, for anything that `encode` would not write: another
    type or kind, a number that is not finite or beyond GREATEST.
    """
    arrays, header = read(data, MARK, limit)
    if header.get("kind") != MARK:
        raise CodecError(f"{MARK}: of another kind; expected {MARK!r}")
    samples = header_number(MARK, header, "samples")
    if other := [array.dtype for array in arrays.values() if array.dtype != np.float32]:
        raise CodecError(f"{MARK}: a weight of type {other[0]}; expected float32")
    if why := next(filter(None, map(fault, arrays.values())), None):
        raise CodecError(f"{MARK}: a weight holds {why}")
    return Adapter({name: arrays[name].copy() for name in sorted(arrays)}, samples)


def fault(array: np.ndarray) -> str | None:
    """Return what is wrong with the numbers of a weight; None if they are in range."""
    if not np.isfinite(array).all():
        return "a number that is not finite"
    return f"a number beyond {GREATEST:g}" if (np.abs(array) > GREATEST).any() else None


@CODECS.register(KIND, tags=("weights",))
class Adapters(Codec[Adapter | Update, Adapter]):
    """An adapter's weights as float32: from one client with its number of private samples, or aggregated from many."""

    kind = KIND

    def encode(self, state: State, value: Adapter | Update) -> tuple[State, bytes]:
        """See Codec.encode."""
        return state, encode(value.weights, value.samples)

    def decode(self, data: bytes, reading: Reading) -> Adapter:
        """See Codec.decode."""
        return decode(data, limit=reading.receiver.limits.adapter_bytes)

    def claims(self, received: Adapter) -> Iterator[int]:
        """See Codec.claims."""
        yield received.samples

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        return EXPECTED * outlook.numbers

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        yield from (("a name", name, False) for name in decode(data, limit=len(data)).weights)
