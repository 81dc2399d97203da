"""Rows of log-probs as their greatest value and, for each value, how many steps of 1/16 nat it lies below.

The greatest value of a row is a float16, so that a probability of nearly 1 stays what it is; it never becomes
positive. A value is off by at most 1/32 nat, 1/64 in the mean, or by half a unit of float16 where that is more: from
64 nats on, where no token that leads its row is found.

Rounding may push the sum of a row's probabilities above 1, by a factor of at most exp(1/32). Such a row is lowered as
a whole by the logarithm of its sum and at most two units of float16 (1/512 nat each at 2 nats), just enough for the
tail to be at least 0. That is the mean of the row's errors, weighted with the probabilities: little where one token is
likely, since the greatest value has next to no error, and little where many are, since theirs cancel. Our reading.
"""

import numpy as np

from lada.codecs.bits import from_bits, to_bits
from lada.core.errors import CodecError

STEP = 1 / 16
"""Nats."""
LEAST = -4095.0
"""The least log-prob that can be written, nats: 2^16 steps below 0."""
MOST_BITS = 16
"""Most bits that a number of steps may have."""
LOWEST = LEAST - 8
"""The least log-prob that is read, nats: what LEAST becomes by rounding, and no more."""
ROOM = 1e-9
"""What a writer leaves to a mass of 1, since exp may differ in its last bit from one machine to another."""


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

    Raises CodecError where one is positive, below LOWEST or not finite, or the probabilities of a row sum to more
    than 1.
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
    """Return the bytes of `count` numbers in planes of bits."""
    return bits * -(-count // 8)


def to_planes(steps: np.ndarray, bits: int) -> np.ndarray:
    """Return numbers below 2^bits as uint8 [bits, ceil(size / 8)]: first the lowest bit of all, then the next.

    The planes of the highest bits are nearly empty and compress well, which bits in the numbers' order would not.
    """
    return np.packbits(to_bits(steps.reshape(-1), bits).T, axis=1)


def from_planes(octets: np.ndarray, count: int, bits: int) -> np.ndarray:
    """Return the numbers, uint32 [count], of the planes of `to_planes` one after the other, uint8 [planes_size]."""
    return from_bits(np.unpackbits(octets.reshape(bits, -(-count // 8)), axis=1, count=count).T)
