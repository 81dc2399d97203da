"""Robust rules for adapters: numbers worked out by hand, a slow reference, and one liar who must not matter."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lada.core.errors import InputError
from lada.rounds.aggregating import aggregate, check_rule, least_clients
from lada.rounds.options import Aggregation

RULES: tuple[Aggregation, ...] = ("mean", "median", "trimmed_mean", "krum", "multi_krum", "bulyan")


def result(values: list[float], rule: Aggregation, malicious: int = 1) -> float:
    weights = {f"c{i:02}": {"w": np.array([value], np.float32)} for i, value in enumerate(values)}
    return float(aggregate(weights, dict.fromkeys(weights, 1), rule, malicious)["w"][0])


def test_by_hand():
    assert result([1, 2, 3, 4, 100], "mean") == 22
    assert result([1, 2, 3, 4, 100], "median") == 3
    assert result([1, 2, 3, 4, 100], "trimmed_mean") == 3
    assert result([-50, 1, 2, 6, 100], "trimmed_mean") == 3
    # Krum with n = 5, f = 1 looks at the n - f - 2 = 2 nearest: 0 -> 1 + 9, 1 -> 1 + 4, 3 -> 4 + 9, 7 -> 16 + 36.
    assert result([0, 1, 3, 7, 100], "krum") == 1
    # Multi-Krum takes the n - f = 4 best of these scores (10, 5, 13, 52, 8649 + 9409) and their mean.
    assert result([0, 1, 3, 7, 100], "multi_krum") == 11 / 4
    # Bulyan with n = 7, f = 1: Multi-Krum keeps 5, and of these the 3 nearest to their median count.
    # Scores over 4 nearest: 0 -> 30, 1 -> 15, 2 -> 10, 3 -> 15, 4 -> 30, 10 -> 36+49+64+81, 100 last.
    assert result([0, 1, 2, 3, 4, 10, 100], "bulyan") == 2


def test_samples_weigh_the_mean_alone():
    weights = {"a": {"w": np.array([0.0])}, "b": {"w": np.array([4.0])}, "c": {"w": np.array([8.0])}}
    rules: dict[Aggregation, float] = {"mean": 7.0, "median": 4.0, "trimmed_mean": 4.0}
    for rule, expected in rules.items():
        assert aggregate(weights, {"a": 0, "b": 1, "c": 3}, rule, 1)["w"].tolist() == [expected]


@given(
    hnp.arrays(np.float64, (7, 3), elements=st.integers(-1000, 1000).map(float)),
    st.integers(0, 6),
    st.sampled_from([rule for rule in RULES if rule != "mean"]),
)
def test_one_liar_of_seven_cannot_leave_the_range_of_the_others(values: np.ndarray, liar: int, rule: Aggregation):
    lies = values.copy()
    lies[liar] = [1e30, -1e30, 1e30]
    weights = {f"c{i}": {"w": row} for i, row in enumerate(lies)}
    found = aggregate(weights, dict.fromkeys(weights, 10**8), rule, 1)["w"]
    honest = np.delete(values, liar, axis=0)
    assert (found >= honest.min(0)).all()
    assert (found <= honest.max(0)).all()


@given(hnp.arrays(np.float64, (5, 4), elements=st.integers(-50, 50).map(float), unique=True))
def test_krum_is_the_adapter_with_the_least_slow_score(values: np.ndarray):
    def score(i: int) -> float:
        return min(sum(((values[i] - values[j]) ** 2).sum() for j in pair) for pair in combinations(others(i), 2))

    def others(i: int) -> list[int]:
        return [j for j in range(5) if j != i]

    weights = {f"c{i}": {"a": row[:1], "b": row[1:].reshape(3, 1)} for i, row in enumerate(values)}
    found = aggregate(weights, dict.fromkeys(weights, 1), "krum", 1)
    row = np.concatenate([found["a"], found["b"].ravel()])
    chosen = next(i for i in range(5) if np.array_equal(values[i], row))
    assert score(chosen) == min(map(score, range(5)))


def test_too_few_for_the_rule_take_the_median():
    assert result([1, 2, 100], "krum") == 2
    assert result([1, 2, 3, 4, 5, 100], "bulyan") == 3.5


@pytest.mark.parametrize(
    ("rule", "malicious", "least"),
    [("mean", 3, 7), ("median", 1, 3), ("trimmed_mean", 2, 5), ("krum", 1, 5), ("multi_krum", 2, 7), ("bulyan", 1, 7)],
)
def test_a_rule_that_cannot_hold_is_refused_beforehand(rule: Aggregation, malicious: int, least: int):
    assert least_clients(rule, malicious) == least
    check_rule(rule, malicious, least)
    if least > 1:
        with pytest.raises(InputError, match=f"'{rule}' needs {least} clients"):
            check_rule(rule, malicious, least - 1)
