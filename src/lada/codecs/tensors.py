"""Safetensors files: writes them reproducibly, and reads them without trusting their source."""

import json
from collections.abc import Mapping

import numpy as np
from safetensors.numpy import load, save

from lada.core.errors import CodecError
from lada.core.plural import counted

HEADER = 8 << 20
"""The most bytes of the header, which names the arrays."""


def write(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Return arrays by name as bytes that are equal for equal arrays and metadata.

    `save` writes metadata in random order, but a repeated message must be identical, bit for bit.
    """
    data = memoryview(save(dict(arrays), metadata=dict(metadata)))
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(bytes(data[8:start]))
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return b"".join([len(text).to_bytes(8, "little"), text, data[start:]])


def read(data: bytes, kind: str, limit: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays by name, and the metadata of the header.

    Raises only CodecError, for bytes that are not such a file, for more than `limit` of them, and for a header of more
    than HEADER bytes.
    """
    if len(data) > limit:
        raise CodecError(f"{kind}: {counted(len(data), 'byte')}; expected at most {limit}")
    length = int.from_bytes(data[:8], "little")
    if length > HEADER:
        raise CodecError(f"{kind}: a header of {counted(length, 'byte')}; expected at most {HEADER}")
    try:
        return load(data), json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except Exception as error:  # a reader may raise anything on bytes made to break it
        raise CodecError(f"{kind}: not readable: {type(error).__name__}") from error
