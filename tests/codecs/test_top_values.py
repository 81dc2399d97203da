"""The largest values of a vector, and masks in both of their forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.codecs.top_values import count, pack, packed_bytes, top, unpack
from lada.core.errors import CodecError


def test_the_bytes_are_those_of_the_formula():
    n, k = 10**6, count(10**6, 1 / 16)
    assert k == 62_500
    assert packed_bytes(n, n, 2) == 2_000_000
    assert 6 * k == 375_000  # values of 2 bytes with indices of 4
    assert packed_bytes(n, k, 2) == 250_000  # a bitmap is smaller
    assert packed_bytes(n, 100, 2) == 600  # indices are
    vector = np.random.default_rng(0).normal(size=n)
    for kept in (k, 100, n):
        assert pack(top(vector, kept), n).nbytes + 2 * kept == packed_bytes(n, kept, 2)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.floats(0, 1))
def test_the_top_is_that_of_a_stable_sort(values: list[int], density: float):
    vector, k = np.array(values, np.float32), count(len(values), density)
    places = top(vector, k)
    assert places.tolist() == sorted(sorted(range(len(values)), key=lambda place: -abs(values[place]))[:k])


@given(st.integers(1, 300), st.data())
def test_a_mask_comes_back(size: int, data: st.DataObject):
    places = np.array(sorted(data.draw(st.sets(st.integers(0, size - 1)))), np.int64)
    packed = pack(places, size)
    assert packed.nbytes == packed_bytes(size, len(places), 0)
    assert unpack(packed, size, len(places)).tolist() == places.tolist()


INDICES, BITS = np.array([3, 500], "<u4"), pack(np.arange(1, 64, 2), 64)


@pytest.mark.parametrize(
    ("packed", "size", "k"),
    [
        (INDICES, 500, 2),  # out of range
        (INDICES[::-1], 1000, 2),  # not in order
        (INDICES[[0, 0]], 1000, 2),  # twice the same
        (INDICES, 1000, 3),
        (INDICES, 1000, 1),
        (INDICES.astype(np.int64), 1000, 2),
        (INDICES.astype(np.float32), 1000, 2),
        (INDICES.reshape(1, 2), 1000, 2),
        (np.array([3, 500], "<u4"), 600, 601),
        (INDICES, 1000, -1),
        (BITS, 63, 32),  # the last bit is beyond the end
        (BITS, 72, 32),
        (BITS, 64, 31),
        (BITS[:-1], 64, 32),
        (BITS.astype(np.uint16), 64, 32),
        (np.arange(64, dtype="<u4"), 64, 64),  # all stay, so there is no mask
        (np.full(8, 255, np.uint8), 64, 64),
        (np.zeros(0, np.uint8), 64, 32),
        (np.zeros(0, np.uint8), 10**12, 0),  # an empty mask in the wrong form
    ],
)
def test_another_mask_is_refused(packed: np.ndarray, size: int, k: int):
    with pytest.raises(CodecError):
        unpack(packed, size, k)
