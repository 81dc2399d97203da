"""Methods against each other over seeds and questions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.evaluation.comparison import holm, over_questions, over_units, resampled_means
from lada.evaluation.diversity import distinct_n

P = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9, 0.02]) == pytest.approx([1.0, 1.0, 0.06])
    assert holm([]) == []


@given(P)
def test_holm_keeps_the_order_and_never_makes_a_p_value_smaller(values):
    adjusted = holm(values)
    assert all(value <= a <= 1 for value, a in zip(values, adjusted, strict=True))
    for i, a in enumerate(adjusted):
        assert all(a <= b for j, b in enumerate(adjusted) if values[i] < values[j])


def test_a_difference_that_is_everywhere_the_same_has_no_interval():
    found = over_questions([[np.full(5, 2.0)], [np.full(7, 2.0)]], seed=0, resamples=999)
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)
    assert found.p == pytest.approx(2 / 1000)


def test_the_value_is_the_mean_of_means_over_seeds_and_scenarios():
    seeds = [[np.array([1.0, 3.0]), np.array([5.0])], [np.array([0.0, 0.0, 3.0]), np.array([2.0])]]
    assert over_questions(seeds, seed=1, resamples=99).value == pytest.approx(((2 + 5) / 2 + (1 + 2) / 2) / 2)


def test_no_difference_is_no_finding():
    found = over_questions([[np.zeros(4), np.zeros(9)]], seed=0, resamples=99)
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def slow_means(differences, rng, resamples):
    means = []
    for _ in range(resamples):
        seeds = [differences[i] for i in rng.integers(len(differences), size=len(differences))]
        means.append(np.mean([rng.choice(values, len(values)).mean() for values in seeds]))
    return np.array(means)


def test_the_bootstrap_spreads_as_drawing_one_by_one_does():
    rng = np.random.default_rng(7)
    differences = [rng.normal(m, 2, size=30).round() for m in (0.0, 1.0, 3.0)]
    fast = resampled_means([[values] for values in differences], seed=3, resamples=4000)
    slow = slow_means(differences, np.random.default_rng(4), 4000)
    assert fast.mean() == pytest.approx(slow.mean(), abs=0.05)
    assert fast.std() == pytest.approx(slow.std(), rel=0.08)
    assert np.quantile(fast, 0.025) == pytest.approx(np.quantile(slow, 0.025), abs=0.15)


def test_seeds_that_differ_widen_the_interval():
    alike = over_questions([[np.array([1.0, 1.0])]] * 4, seed=0, resamples=999)
    apart = over_questions([[np.full(2, v)] for v in (-5.0, -1.0, 3.0, 7.0)], seed=0, resamples=999)
    assert alike.value == apart.value == 1.0
    assert None not in (alike.low, alike.high, alike.p, apart.low, apart.high, apart.p)
    assert apart.high - apart.low > 3 > alike.high - alike.low  # pyright: ignore[reportOperatorIssue]
    assert alike.p < 0.05 < apart.p  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]


def test_scenarios_that_share_seeds_are_drawn_together():
    seeds = [[np.full(2, v), np.full(2, v)] for v in (-3.0, 3.0)]
    together = resampled_means(seeds, seed=0, resamples=2000)
    assert set(together) == {-3.0, 0.0, 3.0}  # apart, one scenario's 3 and the other's 0 would give 1.5 too
    assert np.mean(together == 0) == pytest.approx(0.5, abs=0.05)


def test_three_worlds_by_hand():
    found = over_units([1.0, 2.0, 6.0])
    error = (7 / 3) ** 0.5  # variance (4 + 1 + 9) / 2 = 7, over 3 worlds
    t = 3 / error
    p = 1 - t / (t * t + 2) ** 0.5  # of Student's t with 2 degrees of freedom, both sides
    assert found.value == 3.0
    assert found.high is not None
    assert found.high - 3 == pytest.approx(4.302652729911275 * error)
    assert found.low == pytest.approx(3 - 4.302652729911275 * error)
    assert (found.p, found.p_above) == pytest.approx((p, p))
    above = over_units([1.0, 2.0, 6.0], bound=-2.0)
    t = 5 / error
    assert above.p == pytest.approx(p)
    assert above.p_above == pytest.approx(1 - t / (t * t + 2) ** 0.5)
    assert over_units([-1.0, -2.0, -6.0]).p_above == 1.0


@given(st.lists(st.integers(-40, 40), min_size=2, max_size=12).filter(lambda v: len(set(v)) > 1), st.integers(-9, 9))
def test_a_claim_is_significant_just_where_its_interval_lies_above_the_bound(values, bound):
    found = over_units([float(v) for v in values], bound=float(bound))
    assert found.low is not None
    assert found.p_above is not None
    if abs(found.low - bound) > 1e-9:
        assert (found.p_above < 0.05) == (found.low > bound)


def test_one_world_says_nothing_of_others_and_equal_ones_leave_no_doubt():
    alone = over_units([4.0])
    assert (alone.value, alone.low, alone.high, alone.p, alone.p_above) == (4.0, None, None, None, None)
    assert over_units([4.0, 4.0]).p == over_units([4.0, 4.0]).p_above == 0.0
    assert over_units([0.0, 0.0]).p == over_units([0.0, 0.0]).p_above == 1.0
    for faulty in ([], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="finite"):
            over_units(faulty)


@pytest.mark.parametrize("strata", [[], [[]], [[np.array([])]], [[np.array([np.nan])]]])
def test_what_cannot_be_compared_is_refused(strata):
    with pytest.raises(ValueError, match=r"nothing to compare|NaN"):
        over_questions(strata, seed=0)


def test_distinct_bigrams_by_hand():
    assert distinct_n(["a b a b", "b a"]) == pytest.approx(2 / 4)  # ab ba ab; ba
    assert distinct_n(["a b c"], 1) == 1.0
    assert distinct_n(["one", ""]) is None
