"""The largest values of a vector and where they stand, packed in the fewer bytes of two forms.

Of n numbers k stay, with 2 or 4 bytes for each value. Their places are k numbers of 4 bytes, or one bit for each of the
n: min(4 k, ⌈n/8⌉) bytes. If all stay, there are no places.
"""

import numpy as np

from lada.core.errors import CodecError, InputError

INDEX = np.dtype("<u4")


def count(size: int, density: float) -> int:
    """Return k = ⌊n·d⌋ for n = `size`."""
    return int(size * density)


def none_of(size: int, density: float) -> InputError:
    """Return the error for a density at which none of n numbers is sent: a client would start from zeros."""
    return InputError(f"density {density:g} sends none of {size} numbers; expected {1 / size:.2g} or more")


def packed_bytes(size: int, k: int, value_bytes: int) -> int:
    """Return the bytes of k of n values with their places."""
    return k * value_bytes + (0 if k == size else min(INDEX.itemsize * k, -(-size // 8)))


def top(vector: np.ndarray, k: int) -> np.ndarray:
    """Return the ascending places of the k largest magnitudes of n numbers; the first of equal ones come first."""
    if not k:
        return np.zeros(0, np.int64)
    magnitude = np.abs(vector)
    least = np.partition(magnitude, len(vector) - k)[len(vector) - k]
    above = np.flatnonzero(magnitude > least)
    level = np.flatnonzero(magnitude == least)[: k - len(above)]
    return np.sort(np.concatenate([above, level]))


def pack(places: np.ndarray, size: int) -> np.ndarray:
    """Return ascending places in 0..n-1 as uint8 bits [⌈n/8⌉] or uint32 [k], whichever is smaller; [0] for all n."""
    if len(places) == size:
        return np.zeros(0, np.uint8)
    if -(-size // 8) < INDEX.itemsize * len(places):
        bits = np.zeros(size, np.uint8)
        bits[places] = 1
        return np.packbits(bits, bitorder="little")
    return places.astype(INDEX)


def unpack(packed: np.ndarray, size: int, k: int) -> np.ndarray:
    """Return the k places that `pack` was given. Raises CodecError, and nothing else, for another array.

    Nothing larger than n bytes is made.
    """
    if packed.ndim != 1 or not 0 <= k <= size:
        raise CodecError("a mask of another shape, or of more places than there are numbers")
    if k == size:
        places = np.arange(size) if packed.dtype == np.uint8 and not len(packed) else None
    elif -(-size // 8) < INDEX.itemsize * k:
        places = _from_bits(packed, size, k)
    else:
        places = packed.astype(np.int64) if packed.dtype == INDEX and len(packed) == k else None
    if places is None:
        raise CodecError(f"a mask of another form or size; expected {k} of {size} places")
    if len(places) and (places[-1] >= size or (places[1:] <= places[:-1]).any()):
        raise CodecError(f"places that do not ascend, or reach {size}")
    return places


def _from_bits(packed: np.ndarray, size: int, k: int) -> np.ndarray | None:
    if packed.dtype != np.uint8 or len(packed) != -(-size // 8):
        return None
    bits = np.unpackbits(packed, bitorder="little")
    places = np.flatnonzero(bits)
    return places if len(places) == k else None
