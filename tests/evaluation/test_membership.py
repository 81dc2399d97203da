"""Membership inference: scores that can be compared pair by pair, and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.evaluation.membership import membership, record

SCORES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12).map(np.array)


def test_pairs_counted_by_hand():
    """Of 3 x 4 pairs members win 8 and tie 1: 8.5 / 12. Above every other is one member of three."""
    auc, low, high, sure = membership(np.array([5.0, 3.0, 1.0]), np.array([0.0, 1.0, 2.0, 4.0]), seed=0)
    assert auc == pytest.approx(8.5 / 12)
    assert 0 <= low < auc < high <= 1
    assert sure == pytest.approx(1 / 3)


def test_one_false_alarm_in_a_hundred_is_allowed_and_two_are_not():
    others = np.arange(100.0)
    assert membership(np.array([98.5, 99.5, 50.0, 98.0]), others, seed=0)[3] == 0.5  # the other at 99 comes along
    assert membership(np.array([97.5]), others, seed=0)[3] == 0.0


@given(members=SCORES, others=SCORES)
def test_the_area_is_the_share_of_pairs_whatever_order_keeps_it(members: np.ndarray, others: np.ndarray):
    pairs = [(a > b) + (a == b) / 2 for a in members for b in others]
    auc, low, high, sure = membership(members, others, seed=1, resamples=50)
    assert auc == pytest.approx(np.mean(pairs))
    assert 0 <= low <= high <= 1
    assert 0 <= sure <= 1
    again = membership(np.exp(members[::-1]), np.exp(others[::-1]), seed=1, resamples=50)
    assert again == pytest.approx((auc, low, high, sure))
    assert membership(others, members, seed=1, resamples=50)[0] == pytest.approx(1 - auc)


@given(SCORES)
def test_scores_that_say_nothing_give_one_half(scores: np.ndarray):
    same = np.zeros(len(scores))
    assert membership(same, same, seed=0, resamples=20) == (0.5, 0.5, 0.5, 0.0)
    assert membership(scores, scores, seed=0, resamples=20)[0] == pytest.approx(0.5)


def test_the_interval_is_as_wide_as_that_of_scores_drawn_anew():
    """The standard error of the AUC of normal scores one apart, 60 a side, by drawing them 2000 times."""
    rng = np.random.default_rng(0)
    drawn = [
        np.mean(rng.normal(1, 1, 60)[:, None] > rng.normal(0, 1, 60)[None, :]) for _ in range(2000)
    ]  # fmt: skip
    widths = []
    for seed in range(20):
        _, low, high, _ = membership(rng.normal(1, 1, 60), rng.normal(0, 1, 60), seed=seed)
        widths.append(high - low)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(drawn), rel=0.1)


@pytest.mark.parametrize(
    ("members", "others"), [([], [1.0]), ([1.0], []), ([np.nan], [1.0]), ([np.inf], [1.0]), ([[1.0]], [1.0])]
)
def test_what_cannot_be_compared_is_refused(members, others):
    with pytest.raises(ValueError, match="expected"):
        membership(np.array(members), np.array(others), seed=0)


def test_a_record_counts_both_sides():
    told = record("a", 2, "loss", np.array([1.0, 2.0]), np.array([0.0]), seed=0)
    assert (told.party, told.round, told.attack, told.auc, told.members, told.others) == ("a", 2, "loss", 1.0, 2, 1)
