"""Token ids: bytes worked out by hand, a slow reference, and rows that nobody wrote."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.codecs import elias_fano
from lada.codecs.bits import from_bits, to_bits
from lada.core.errors import CodecError


def slow(row: list[int], vocabulary_size: int) -> bytes:
    """The same row bit by bit, in a Python integer."""
    k, low = len(row), 0
    while 2 ** (low + 1) * k <= vocabulary_size:
        low += 1
    bits = sum((token % 2**low) << (place * low) for place, token in enumerate(row))
    bits |= sum(1 << (k * low + place + token // 2**low) for place, token in enumerate(row))
    size = k * low + k + -(-vocabulary_size // 2**low)
    return bits.to_bytes(-(-size // 8), "little")


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, np.ndarray]:
    vocabulary_size = draw(st.integers(1, 40) | st.integers(1, 10**9 - 1))
    k = draw(st.integers(1, min(vocabulary_size, 9)))
    ids = st.lists(st.integers(0, vocabulary_size - 1), min_size=k, max_size=k, unique=True).map(sorted)
    rows = draw(st.lists(ids, max_size=4))
    return vocabulary_size, np.array(rows, np.int32).reshape(len(rows), k)


def test_by_hand():
    # l = log2(16 / 2) = 3. Low bits 3 -> 110, 12 -> 001; high parts 0 and 1: ones at bits 0 + 0 and 1 + 1 of 2 + 2.
    # 110 001 1 0 | 10: the first byte is 1 + 2 + 32 + 64, the second 1.
    rows = elias_fano.encode(np.array([[3, 12]]), 16)
    assert rows.tolist() == [[99, 1]]
    assert elias_fano.decode(rows, 16, 2).tolist() == [[3, 12]]


def test_sizes():
    assert elias_fano.row_size(150_000, 32) == 57  # 32 * 12 + 32 + 37 bits
    assert elias_fano.row_size(8, 8) == 2  # 8 * 0 + 8 + 8
    assert elias_fano.row_size(1, 1) == 1


@given(tables())
def test_reference_and_round_trip(table: tuple[int, np.ndarray]):
    vocabulary_size, ids = table
    rows = elias_fano.encode(ids, vocabulary_size)
    assert rows.shape == (len(ids), elias_fano.row_size(vocabulary_size, ids.shape[1]))
    assert rows.tobytes() == b"".join(slow(row, vocabulary_size) for row in ids.tolist())
    received = elias_fano.decode(rows, vocabulary_size, ids.shape[1])
    assert received.dtype == np.int32
    np.testing.assert_array_equal(received, ids)


@pytest.mark.parametrize(
    ("rows", "vocabulary_size", "said"),
    [
        ([[99, 0]], 16, "does not hold 2 ids"),
        ([[99, 3]], 16, "does not hold 2 ids"),
        ([[99, 2]], 20, "vocabulary's size of 20"),  # 3 and 20
        ([[0b11_011_011, 0]], 16, "do not ascend"),  # 3 twice
        ([[0b11_001_010, 0]], 16, "do not ascend"),  # 2, then 1
    ],
)
def test_rows_that_nobody_wrote(rows: list[list[int]], vocabulary_size: int, said: str):
    with pytest.raises(CodecError, match=said):
        elias_fano.decode(np.array(rows, np.uint8), vocabulary_size, 2)


@given(st.data())
def test_any_row_holds_ids_of_the_vocabulary_or_is_refused(choice: st.DataObject):
    vocabulary_size = choice.draw(st.integers(3, 40))
    size = elias_fano.row_size(vocabulary_size, 3)
    rows = np.frombuffer(choice.draw(st.binary(min_size=size, max_size=size)), np.uint8).reshape(1, size)
    try:
        received = elias_fano.decode(rows, vocabulary_size, 3)[0].tolist()
    except CodecError:
        return
    assert 0 <= received[0] < received[1] < received[2] < vocabulary_size


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_bits(numbers: list[int]):
    bits = to_bits(np.array(numbers, np.uint32), 32)
    assert [sum(int(bit) << place for place, bit in enumerate(row)) for row in bits] == numbers
    assert from_bits(bits).tolist() == numbers
    assert from_bits(bits[:, :11]).tolist() == [number % 2**11 for number in numbers]
