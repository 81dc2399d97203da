import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.evaluation.calibration import Bin, expected_calibration_error, reliability

ANSWERS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


def slow_error(confidence, right, bins):
    total = 0.0
    for k in range(1, bins + 1):
        inside = [
            (c, r)
            for c, r in zip(confidence, right, strict=True)
            if (k - 1) / bins < c <= k / bins or (k == 1 and c == 0)
        ]
        if inside:
            gap = sum(r for _, r in inside) / len(inside) - sum(c for c, _ in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(gap)
    return total


def test_by_hand():
    confidence, right = np.array([0.75, 0.875, 0.25, 0.125]), np.array([True, False, False, False])
    # Two bins: (0, 0.5] has confidence 0.1875, accuracy 0; (0.5, 1] has 0.8125 and 0.5.
    assert reliability(confidence, right, 2) == [Bin(0.0, 0.5, 0.1875, 0.0, 2), Bin(0.5, 1.0, 0.8125, 0.5, 2)]
    assert expected_calibration_error(confidence, right, 2) == 0.5 * 0.1875 + 0.5 * 0.3125
    # One bin: confidence 0.5, accuracy 0.25.
    assert expected_calibration_error(confidence, right, 1) == 0.25


def test_bins_weigh_by_count():
    # Ten bins: three answers at 0.5, all right (gap 0.5); one at 1, right (gap 0).
    confidence, right = np.array([0.5, 0.5, 0.5, 1.0]), np.array([1, 1, 1, 1])
    assert expected_calibration_error(confidence, right) == 0.375


@pytest.mark.parametrize("bins", [1, 3, 7, 10, 15])
def test_a_bin_holds_its_upper_edge(bins):
    for k in range(1, bins + 1):
        (row,) = reliability(np.array([k / bins]), np.array([True]), bins)
        assert (row.low, row.high) == ((k - 1) / bins, k / bins)


def test_just_above_an_edge_belongs_to_the_next_bin():
    (row,) = reliability(np.array([np.nextafter(0.3, 1)]), np.array([True]))
    assert (row.low, row.high) == (0.3, 0.4)


def test_zero_belongs_to_the_first_bin():
    assert reliability(np.array([0.0]), np.array([False])) == [Bin(0.0, 0.1, 0.0, 0.0, 1)]


def test_extremes():
    assert expected_calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0
    assert expected_calibration_error(np.array([1.0, 0.0]), np.array([False, True])) == 1


@given(ANSWERS, st.integers(1, 15))
def test_equals_the_slow_reference_within_bounds(answers, bins):
    confidence, right = zip(*answers, strict=True)
    error = expected_calibration_error(np.array(confidence), np.array(right), bins)
    assert error == pytest.approx(slow_error(confidence, right, bins), abs=1e-12)
    assert 0 <= error <= 1 + 1e-12


@given(ANSWERS)
def test_every_answer_is_in_one_bin(answers):
    confidence, right = map(np.array, zip(*answers, strict=True))
    rows = reliability(confidence, right)
    assert sum(row.count for row in rows) == len(answers)
    assert all(row.count > 0 and row.low - 1e-12 <= row.confidence <= row.high + 1e-12 for row in rows)
    assert [row.low for row in rows] == sorted({row.low for row in rows})


@given(ANSWERS, st.randoms(use_true_random=False))
def test_order_does_not_matter(answers, random):
    shuffled = random.sample(answers, len(answers))
    a, b = map(np.array, zip(*answers, strict=True))
    c, d = map(np.array, zip(*shuffled, strict=True))
    assert expected_calibration_error(a, b) == pytest.approx(expected_calibration_error(c, d), abs=1e-12)


@pytest.mark.parametrize("wrong", [np.nan, -0.01, 1.01, np.inf])
def test_refuses_what_is_no_confidence(wrong):
    with pytest.raises(ValueError, match=r"NaN or outside 0\.\.1"):
        expected_calibration_error(np.array([0.5, wrong]), np.array([True, True]))


@pytest.mark.parametrize(("confidence", "right"), [([], []), ([0.5], [True, False]), ([[0.5]], [[True]])])
def test_refuses_wrong_shapes(confidence, right):
    with pytest.raises(ValueError, match="shape"):
        expected_calibration_error(np.array(confidence), np.array(right))
