"""Quantised rows of log-probs: the greatest value of a row and, for each value, its distance below in steps of 1/16
nat.

The greatest value of a row is a float16, so a probability of nearly 1 is preserved; it never becomes positive. The
error of a value is at most 1/32 nat and 1/64 on average. From 64 nats on, it is half a unit of float16, but no leading
token of a row is that unlikely.

Rounding may push the sum of a row's probabilities above 1, by a factor of at most exp(1/32). The whole row is then
lowered by the logarithm of its sum and at most two units of float16 (1/512 nat each at 2 nats), just enough for the
tail to be at least 0. This shift is the mean of the row's errors, weighted by the probabilities. It is small if one
token is likely, since the greatest value has almost no error, and small if many are, since their errors cancel. This is
our reading.
"""

import numpy as np

from lada.codecs.bits import from_bits, to_bits
from lada.core.errors import CodecError

STEP = 1 / 16
"""Nats."""
LEAST = -4095.0
"""The minimum log-prob that can be written, nats: 2^16 steps below 0."""
MOST_BITS = 16
"""The most bits that a number of steps may have."""
LOWEST = LEAST - 8
"""The minimum log-prob that is read, nats: LEAST after rounding."""
ROOM = 1e-9
"""The margin that a writer leaves below a mass of 1, since the last bit of exp may differ between machines."""


def quantise(log_probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the greatest value of each row, float16 [n], and the steps below it, uint16 [n, k].

    `log_probs` [n, k], nats in LEAST..0.
    """
    greatest = log_probs.max(1).astype(np.float16)
    below = greatest[:, None].astype(np.float64) - log_probs
    steps = np.rint(below / STEP).clip(0).astype(np.uint16)
    while (over := (mass := _mass(greatest, steps)) > 1 - ROOM).any():
        lowered = (greatest[over] - np.log(mass[over])).astype(np.float16)
        greatest[over] = np.nextafter(lowered, np.float16(-np.inf))
    return greatest, steps


def restore(greatest: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the log-probs, float32 [n, k], nats, of what `quantise` returned.

    Raises CodecError if one is positive, below LOWEST or not finite, or if the probabilities of a row sum to more than
    1.
    """
    if not (np.isfinite(greatest) & (greatest <= 0)).all():
        raise CodecError("a log-prob above zero or not finite")
    if (_values(greatest, steps) < LOWEST).any():
        raise CodecError(f"a log-prob below {LOWEST:g} nats")
    if (_mass(greatest, steps) > 1).any():
        raise CodecError("the probabilities of a row sum to more than 1")
    return _values(greatest, steps)


def _values(greatest: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return greatest[:, None].astype(np.float32) - steps.astype(np.float32) * np.float32(STEP)


def _mass(greatest: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return np.exp(_values(greatest, steps).astype(np.float64)).sum(1)


def planes_size(count: int, bits: int) -> int:
    """Return the number of bytes of `count` numbers in bit planes."""
    return bits * -(-count // 8)


def to_planes(steps: np.ndarray, bits: int) -> np.ndarray:
    """Return numbers below 2^bits as bit planes, uint8 [bits, ceil(size / 8)]: first the lowest bit of all, then the
    next.

    The planes of the highest bits are nearly empty and compress well; bits in the order of the numbers would not.
    """
    return np.packbits(to_bits(steps.reshape(-1), bits).T, axis=1)


def from_planes(octets: np.ndarray, count: int, bits: int) -> np.ndarray:
    """Return the numbers, uint32 [count], of the planes of `to_planes` one after the other, uint8 [planes_size]."""
    return from_bits(np.unpackbits(octets.reshape(bits, -(-count // 8)), axis=1, count=count).T)
