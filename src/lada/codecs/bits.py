"""Unsigned numbers as bits and back, least significant bit first, for many numbers at once."""

import numpy as np

WIDEST = 32
"""The most bits that a number may have."""


def to_bits(values: np.ndarray, width: int) -> np.ndarray:
    """Return the lowest `width` bits of each number: integers [...] below 2^32 become uint8 [..., width], 0 or 1."""
    octets = np.ascontiguousarray(values, "<u4").view(np.uint8).reshape(*values.shape, WIDEST // 8)
    return np.unpackbits(octets, axis=-1, count=width, bitorder="little")


def from_bits(bits: np.ndarray) -> np.ndarray:
    """Return the argument of `to_bits` as uint32 [...]."""
    octets = np.packbits(bits, axis=-1, bitorder="little")
    padded = np.zeros((*bits.shape[:-1], WIDEST // 8), np.uint8)
    padded[..., : octets.shape[-1]] = octets
    return padded.view("<u4")[..., 0]
