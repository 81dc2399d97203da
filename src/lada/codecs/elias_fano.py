"""Rows of ascending token ids in nearly the minimum number of bits; every row has the same size.

An id is split: its lowest l = floor(log2(V / k)) bits are kept as they are, and the rest h of the i-th id is a one at
bit i + h of k + ceil(V / 2^l) bits. That is k (2 + l) bits or little more: 57 bytes for k = 32 of V = 150 000.

Elias, "Efficient storage and retrieval by content and address of static files" (J. ACM 1974); Fano, "On the number of
bits required to implement an associative memory" (MIT 1971).
"""

import numpy as np

from lada.codecs.bits import from_bits, to_bits
from lada.core.errors import CodecError


def _widths(vocabulary_size: int, k: int) -> tuple[int, int]:
    """Return l and the number of bits of all high parts of a row."""
    low = (vocabulary_size // k).bit_length() - 1
    return low, k + -(-vocabulary_size >> low)


def row_size(vocabulary_size: int, k: int) -> int:
    """Return the number of bytes of one row of k ids, 1 <= k <= `vocabulary_size` < 2^31."""
    low, high = _widths(vocabulary_size, k)
    return -(-(k * low + high) // 8)


def encode(ids: np.ndarray, vocabulary_size: int) -> np.ndarray:
    """Return rows as uint8 [n, row_size]. `ids` [n, k] ascend within a row, each in 0..vocabulary_size - 1."""
    n, k = ids.shape
    low, high = _widths(vocabulary_size, k)
    ones = np.zeros((n, high), np.uint8)
    np.put_along_axis(ones, (ids >> low) + np.arange(k), 1, axis=1)
    return np.packbits(np.hstack([to_bits(ids, low).reshape(n, k * low), ones]), axis=1, bitorder="little")


def decode(rows: np.ndarray, vocabulary_size: int, k: int) -> np.ndarray:
    """Return the ids, int32 [n, k], of rows uint8 [n, row_size].

    Raises CodecError for rows without exactly k ids, or with ids that do not ascend or reach `vocabulary_size`.
    """
    low, high = _widths(vocabulary_size, k)
    bits = np.unpackbits(rows, axis=1, count=k * low + high, bitorder="little")
    ones = bits[:, k * low :]
    if (ones.sum(1) != k).any():
        raise CodecError(f"a row does not hold {k} ids")
    parts = np.nonzero(ones)[1].reshape(len(rows), k) - np.arange(k)
    ids = parts << low | from_bits(bits[:, : k * low].reshape(len(rows), k, low))
    if (ids[:, 1:] <= ids[:, :-1]).any() or (ids[:, -1] >= vocabulary_size).any():
        raise CodecError(f"the ids of a row do not ascend, or reach the vocabulary's size of {vocabulary_size}")
    return ids.astype(np.int32)
