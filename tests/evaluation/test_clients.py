"""Figures over clients, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.evaluation.clients import rank_correlation, worst_tenth


@pytest.mark.parametrize(
    ("values", "expected"),
    [([50.0], 50.0), ([30.0, 10.0, 20.0], 10.0), ([*range(20)], 0.5), ([*range(11)], 0.5), ([*range(10)], 0.0)],
)
def test_the_worst_tenth_is_rounded_up(values: list[float], expected: float):
    assert worst_tenth(values) == expected


def test_there_is_no_worst_of_none():
    with pytest.raises(ValueError, match="no values"):
        worst_tenth([])


def test_ranks_by_hand():
    # Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 · (0 + 1 + 1 + 0) / (4 · 15) = 0.8.
    assert rank_correlation([1, 5, 6, 90], [0.1, 0.3, 0.2, 0.9]) == pytest.approx(0.8)
    assert rank_correlation([1, 2, 3], [9, 5, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, None, 4], [1, 2, 3, 0, None]) == pytest.approx(1)


def test_where_ranks_say_nothing_there_is_none():
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 2, 3], [5, 5, 5]) is None
    assert rank_correlation([1, None, 3], [1, 2, 3]) is None
    with pytest.raises(ValueError, match="shorter"):
        rank_correlation([1, 2, 3], [1, 2])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=8), st.randoms())
def test_order_and_scale_do_not_matter(pairs: list[tuple[int, int]], random):
    found = rank_correlation(*map(list, zip(*pairs, strict=True)))
    random.shuffle(pairs)
    other = rank_correlation([3.0 * a + 1 for a, _ in pairs], [b for _, b in pairs])
    assert other == (None if found is None else pytest.approx(found))
    assert found is None or -1 - 1e-9 <= found <= 1 + 1e-9
