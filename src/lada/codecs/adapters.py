"""Adapter weights by name as a safetensors file, with the number of samples that weighs them in an average."""

import json
from collections.abc import Mapping

import numpy as np
from safetensors.numpy import save

from lada.codecs.table import LIMIT, header_number
from lada.codecs.tensors import read
from lada.core.errors import CodecError

KIND = "adapters"
GREATEST = 1e4
"""No weight lies further from 0; those of models that work stay below 100."""


def encode(weights: Mapping[str, np.ndarray], samples: int) -> bytes:
    """Return weights as float32, and `samples` (the private ones behind them, >= 0), as bytes.

    Raises CodecError for a type that float32 does not hold exactly, such as float64, and for values that `decode`
    would refuse.
    """
    for name, array in weights.items():
        if not np.can_cast(array.dtype, np.float32):
            raise CodecError(f"{KIND}: {name!r} is of type {array.dtype}; expected float32 or less")
    arrays = {name: array.astype(np.float32, order="C") for name, array in weights.items()}
    for name, array in arrays.items():
        if why := fault(array):
            raise CodecError(f"{KIND}: {name!r} holds {why}")
    header = {"kind": KIND, "samples": str(samples)}
    header_number(KIND, header, "samples")
    return save(arrays, metadata=header)


def decode(data: bytes, *, limit: int = LIMIT) -> tuple[dict[str, np.ndarray], int]:
    """Return the weights, float32, sorted by name, and the number of samples behind them.

    `limit` is the most bytes of `data`. Raises CodecError, and nothing else, for anything that `encode` would not
    write: another type or kind, a number that is not finite or beyond GREATEST.
    """
    arrays, header = read(data, KIND, limit)
    if header.get("kind") != KIND:
        raise CodecError(f"{KIND}: of another kind; expected {KIND!r}")
    samples = header_number(KIND, header, "samples")
    if other := [array.dtype for array in arrays.values() if array.dtype != np.float32]:
        raise CodecError(f"{KIND}: a weight of type {other[0]}; expected float32")
    if why := next(filter(None, map(fault, arrays.values())), None):
        raise CodecError(f"{KIND}: a weight holds {why}")
    return {name: arrays[name].copy() for name in sorted(arrays)}, samples


def count(data: bytes) -> int:
    """Return the number of samples behind weights that `decode` takes, without reading these."""
    length = int.from_bytes(data[:8], "little")
    return header_number(KIND, json.loads(data[8 : 8 + length])["__metadata__"], "samples")


def fault(array: np.ndarray) -> str | None:
    """Return what is wrong with the numbers of a weight; None where they are in range."""
    if not np.isfinite(array).all():
        return "a number that is not finite"
    return f"a number beyond {GREATEST:g}" if (np.abs(array) > GREATEST).any() else None
