"""The map between two vocabularies, computed once per machine and pair."""

import hashlib
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from lada.alignment.vocabulary import nearest_tokens
from lada.core.cache import cache_folder, write_whole

FORMAT = b"lada vocabulary map 1"
SMALL = 2**22
"""Below this many pairs of tokens, a map is computed about as fast as it is read."""


def map_vocabulary(source: Sequence[bytes], target: Sequence[bytes], folder: Path | None = None) -> np.ndarray:
    """Return for each source token the target token with the smallest Levenshtein distance over bytes: int32 [source].

    See `nearest_tokens` for ties and errors. A map that takes a while to compute is stored as a file in `folder`
    (default: `cache_folder()`). If a file is not a complete map between the vocabularies, the map is computed again and
    the file replaced. If the folder cannot be written to, nothing is stored. Processes may share a folder: files are
    written atomically.
    """
    if len(source) * len(target) < SMALL:
        return nearest_tokens(source, target)
    file = (cache_folder() if folder is None else folder) / f"{_digest(source, target)}.npy"
    known = _read(file, len(source), len(target))
    if known is not None:
        return known
    table = nearest_tokens(source, target)
    with suppress(OSError):
        write_whole(file, lambda stream: np.save(stream, np.concatenate([table, _sum(table)])))
    return table


def _digest(source: Sequence[bytes], target: Sequence[bytes]) -> str:
    """Return a digest of the pair; counts and sizes precede the bytes, so the encoding is unambiguous."""
    digest = hashlib.sha256(FORMAT)
    for tokens in (source, target):
        sizes = np.fromiter(map(len, tokens), "<u8", len(tokens))
        digest.update(len(tokens).to_bytes(8, "little"))
        digest.update(sizes.tobytes())
        digest.update(b"".join(tokens))
    return digest.hexdigest()


def _sum(table: np.ndarray) -> np.ndarray:
    """Return the checksum that follows a map in its file, int32 [1]: the CRC of its bytes."""
    return np.array([zlib.crc32(table.tobytes())], dtype=np.uint32).view(np.int32)


def _read(file: Path, size: int, bound: int) -> np.ndarray | None:
    """Return the map in `file` if it is valid: `size` ids below `bound`."""
    try:
        content = np.load(file, allow_pickle=False)
    except Exception:  # a damaged header can raise almost anything
        return None
    if not isinstance(content, np.ndarray) or content.dtype != np.int32 or content.shape != (size + 1,):
        return None
    table = content[:-1]
    whole = content[-1:] == _sum(table) and table.min(initial=0) >= 0 and table.max(initial=0) < bound
    return table if whole else None
