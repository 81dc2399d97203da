import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.evaluation.ranking import auc

ROWS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30)


def slow_auc(score, positive):
    """Every positive against every negative."""
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, x in zip(score, positive, strict=True)
        if x
        for b, y in zip(score, positive, strict=True)
        if not y
    ]
    return sum(wins) / len(wins) if wins else None


@pytest.mark.parametrize(
    ("score", "positive", "expected"),
    [
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),  # 0.35 loses to 0.4, wins the other three pairs
        ([1, 2, 3], [0, 0, 1], 1.0),
        ([3, 2, 1], [0, 0, 1], 0.0),
        ([7, 7, 7], [1, 0, 1], 0.5),
        ([1, 1, 2], [0, 1, 1], 0.75),  # one tie, one win
        ([-np.inf, np.inf], [0, 1], 1.0),
    ],
)
def test_by_hand(score, positive, expected):
    assert auc(np.array(score), np.array(positive, dtype=bool)) == expected


@pytest.mark.parametrize("positive", [[], [True, True], [False]])
def test_one_class_ranks_nothing(positive):
    assert auc(np.arange(len(positive)), np.array(positive, dtype=bool)) is None


@given(ROWS)
def test_equals_every_pair_counted(rows):
    score, positive = zip(*rows, strict=True)
    expected = slow_auc(score, positive)
    found = auc(np.array(score), np.array(positive))
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))


@given(ROWS, st.randoms(use_true_random=False))
def test_order_scale_and_sign(rows, random):
    score, positive = map(np.array, zip(*rows, strict=True))
    shuffled, verdicts = map(np.array, zip(*random.sample(rows, len(rows)), strict=True))
    found = auc(score, positive)
    assert auc(shuffled, verdicts) == found
    assert auc(3 * score + 1, positive) == found
    if found is not None:
        assert 0 <= found <= 1
        assert auc(-score, positive) == pytest.approx(1 - found, abs=1e-12)


@pytest.mark.parametrize(
    ("score", "positive", "message"),
    [([np.nan, 1], [True, False], "NaN"), ([1.0], [True, False], "shape"), ([[1.0]], [[True]], "shape")],
)
def test_refuses_what_cannot_be_ranked(score, positive, message):
    with pytest.raises(ValueError, match=message):
        auc(np.array(score), np.array(positive))
