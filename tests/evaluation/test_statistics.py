import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.evaluation import statistics
from lada.evaluation.statistics import bootstrap_interval, mean_interval, paired_difference

FLOATS = st.lists(st.floats(-100, 100), min_size=1, max_size=30)
VERDICTS = st.lists(st.booleans(), min_size=1, max_size=60)


def slow_bootstrap(values: list[float], seed: int, resamples: int, level: float) -> tuple[float, float, float]:
    """One resample at a time, written out in full and averaged."""
    distinct = sorted(set(values))
    shares = [values.count(value) / len(values) for value in distinct]
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        counts = generator.multinomial(len(values), shares)
        resample = [value for value, count in zip(distinct, counts, strict=True) for _ in range(count)]
        assert len(resample) == len(values)
        means.append(sum(resample) / len(resample))
    tail = (1 - level) / 2
    return sum(values) / len(values), float(np.quantile(means, tail)), float(np.quantile(means, 1 - tail))


def test_two_questions_one_right():
    # Resample means are 0, 1/2, 1 with chances 1/4, 1/2, 1/4: 2.5 % lies in the first, 97.5 % in the last.
    assert bootstrap_interval(np.array([0, 1]), seed=3) == (0.5, 0.0, 1.0)


def test_four_questions_one_right():
    # The number right is binomial(4, 1/4): 0 up to 31.6 %, 1 up to 73.8 %, 2 up to 94.9 %, 3 up to 99.6 %.
    values = np.array([0, 0, 1, 0])
    assert bootstrap_interval(values, seed=0, level=0.4) == (0.25, 0.0, 0.25)  # 30 % and 70 %
    assert bootstrap_interval(values, seed=0, level=0.6) == (0.25, 0.0, 0.5)  # 20 % and 80 %
    assert bootstrap_interval(values, seed=0) == (0.25, 0.0, 0.75)  # 2.5 % and 97.5 %


@pytest.mark.parametrize("values", [[1, 0, 0, 1, 1, 0, 1], [0.0, 1.0, 0.25, 0.25, -3.5]])
def test_equals_the_slow_reference(values):
    fast = bootstrap_interval(np.array(values), seed=11, resamples=300, level=0.9)
    assert fast == pytest.approx(slow_bootstrap(values, 11, 300, 0.9), abs=1e-12)


def test_equals_resampling_positions_in_distribution():
    values = np.random.default_rng(5).exponential(size=200)
    positions = np.random.default_rng(6).integers(0, 200, size=(4000, 200))
    expected = np.quantile(values[positions].mean(1), (0.025, 0.975))
    assert bootstrap_interval(values, seed=7, resamples=4000)[1:] == pytest.approx(tuple(expected), abs=0.02)


def test_chunks_do_not_change_the_result(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    whole = bootstrap_interval(values, seed=1, resamples=101)
    monkeypatch.setattr(statistics, "CHUNK", 150)  # three of 101 resamples at once, two in the last chunk
    assert bootstrap_interval(values, seed=1, resamples=101) == pytest.approx(whole, abs=1e-12)
    verdicts = values > 0  # to the bit where the values are right or wrong
    parts = bootstrap_interval(verdicts, seed=1, resamples=101)
    monkeypatch.undo()
    assert bootstrap_interval(verdicts, seed=1, resamples=101) == parts


def test_a_million_questions_have_the_binomial_error():
    values = np.arange(1_000_000) % 4 == 0
    mean, low, high = bootstrap_interval(values, seed=2)
    spread = 1.96 * (0.25 * 0.75 / 1e6) ** 0.5
    assert mean == 0.25
    assert (mean - low, high - mean) == pytest.approx((spread, spread), rel=0.1)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
@pytest.mark.parametrize("count", [1, 3])
def test_equal_values_leave_no_doubt(value, count):
    assert bootstrap_interval(np.full(count, value), seed=0) == (value, value, value)


@pytest.mark.parametrize("values", [[], [[0.0, 1.0]], [0.0, np.nan], [np.inf]])
def test_refuses_what_has_no_mean(values):
    with pytest.raises(ValueError, match="expected"):
        bootstrap_interval(np.array(values), seed=0)


@given(FLOATS, st.integers(0, 2**62))
@settings(max_examples=30)
def test_interval_holds_the_mean_and_stays_within_the_values(values, seed):
    mean, low, high = bootstrap_interval(np.array(values), seed=seed)
    slack = 1e-9
    assert min(values) - slack <= low <= mean + slack
    assert mean - slack <= high <= max(values) + slack


@given(VERDICTS, st.randoms(use_true_random=False), st.integers(0, 2**62))
@settings(max_examples=30)
def test_order_does_not_matter_and_the_seed_decides(values, random, seed):
    shuffled = random.sample(values, len(values))
    assert bootstrap_interval(np.array(values), seed=seed) == bootstrap_interval(np.array(shuffled), seed=seed)


def test_another_seed_draws_anew():
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap_interval(values, seed=0) != bootstrap_interval(values, seed=1)


@given(FLOATS)
@settings(max_examples=20)
def test_a_wider_level_gives_a_wider_interval(values):
    _, low, high = bootstrap_interval(np.array(values), seed=4, resamples=200, level=0.95)
    _, inner_low, inner_high = bootstrap_interval(np.array(values), seed=4, resamples=200, level=0.5)
    assert low <= inner_low <= inner_high <= high


def test_paired_difference_by_hand():
    # Differences 0, 1, 0, 0, as in the four questions above.
    a, b = np.array([1, 1, 0, 1]), np.array([1, 0, 0, 1])
    assert paired_difference(a, b, seed=0) == (0.25, 0.0, 0.75)
    assert paired_difference(b, a, seed=0) == (-0.25, -0.75, 0.0)


def test_pairing_removes_what_both_share():
    hard = np.arange(100) % 2
    assert paired_difference(hard, hard, seed=0) == (0.0, 0.0, 0.0)
    assert paired_difference(hard, 1 - hard, seed=0)[1] < -0.1


def test_paired_difference_of_truth_values():
    assert paired_difference(np.array([False, False]), np.array([True, True]), seed=0) == (-1.0, -1.0, -1.0)


def test_paired_difference_refuses_different_questions():
    with pytest.raises(ValueError, match="same questions"):
        paired_difference(np.array([1, 0]), np.array([1]), seed=0)


def test_mean_interval_by_hand():
    # n = 2: t with one degree of freedom is Cauchy, its 97.5 % point tan(0.475 pi); the standard error of 0, 2 is 1.
    half = float(np.tan(0.475 * np.pi))
    assert mean_interval(np.array([0.0, 2.0])) == pytest.approx((1, 1 - half, 1 + half))
    # n = 3: the table's 4.30265, times 1 / sqrt(3).
    assert mean_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2, 2 - 2.484138, 2 + 2.484138), abs=1e-5)
    # The table's 2.91999 for 90 %.
    assert mean_interval(np.array([1.0, 2.0, 3.0]), level=0.9)[2] == pytest.approx(2 + 2.91999 / 3**0.5, abs=1e-5)


def test_mean_interval_of_equal_seeds():
    assert mean_interval(np.array([50.0, 50.0])) == (50, 50, 50)


@pytest.mark.parametrize("values", [[], [1.0], [[1.0, 2.0]]])
def test_mean_interval_refuses_fewer_than_two_seeds(values):
    with pytest.raises(ValueError, match="at least 2"):
        mean_interval(np.array(values))
