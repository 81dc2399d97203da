"""The mean of sparse distributions, by hand and against one over the whole vocabulary, token by token."""

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from distributions import rows
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.core.terms import SparseLogProbs
from lada.rounds.consensus import Average, consensus

SIZE = 7
AVERAGES: tuple[Average, ...] = ("logits", "probabilities")


def merge(members: list[SparseLogProbs], own: list[int], k: int = SIZE, **options: Any) -> list[dict[int, float]]:
    """Return the consensus as probabilities, one dict a position."""
    found = consensus(members, np.array(own), vocabulary_size=SIZE, k=k, **{"average": "probabilities", **options})
    assert found.ids.shape == found.log_probs.shape == (len(own), k)
    assert (np.diff(found.ids) > 0).all()
    return [
        dict(zip(ids, np.exp(log_probs.astype(float)), strict=True))
        for ids, log_probs in zip(found.ids.tolist(), found.log_probs, strict=True)
    ]


def dense(told: dict[int, float]) -> list[float]:
    """Return a whole distribution: what is not named shares the tail evenly."""
    rest = max(1 - sum(told.values()), 1e-7)
    return [told.get(token, rest / max(SIZE - len(told), 1)) for token in range(SIZE)]


def reference(members: list[dict[int, float]], average: Average, temperature: float) -> list[float]:
    whole = [dense(member) for member in members]
    if average == "probabilities":
        merged = [sum(each[token] for each in whole) / len(whole) for token in range(SIZE)]
    else:
        merged = [math.prod(each[token] for each in whole) ** (1 / len(whole)) for token in range(SIZE)]
    powered = [value ** (1 / temperature) for value in merged]
    return [value / sum(powered) for value in powered]


def test_by_hand():
    # Of the 7 tokens the first member leaves 0.5 to five, the second 0.2 to six.
    members = [rows({0: 0.4, 2: 0.1}), rows({2: 0.8})]
    (mean,) = merge(members, [2])
    assert mean[0] == pytest.approx((0.4 + 0.2 / 6) / 2)
    assert mean[2] == pytest.approx(0.45)
    assert mean[5] == pytest.approx((0.1 + 0.2 / 6) / 2)
    (sharp,) = merge(members, [2], temperature=0.5)
    total = sum(value**2 for value in mean.values())
    assert sharp == pytest.approx({token: value**2 / total for token, value in mean.items()}, rel=1e-5)


def test_the_mean_of_logits_is_the_geometric_one():
    members = [rows(dict(enumerate(dense({0: 0.5, 1: 0.3})))), rows(dict(enumerate(dense({0: 0.1, 1: 0.6}))))]
    (found,) = merge(members, [0], average="logits")
    roots = [math.sqrt(a * b) for a, b in zip(dense({0: 0.5, 1: 0.3}), dense({0: 0.1, 1: 0.6}), strict=True)]
    assert found == pytest.approx({token: root / sum(roots) for token, root in enumerate(roots)}, rel=1e-5)


def test_a_row_keeps_the_likeliest_and_the_own_token():
    members = [rows({0: 0.05, 1: 0.5, 3: 0.3, 6: 0.1})]
    assert set(merge(members, [0], k=3)[0]) == {0, 1, 3}
    assert merge(members, [5], k=1)[0] == pytest.approx({5: 0.05 / 3})
    assert set(merge([rows({4: 0.9})], [4], k=3)[0]) == {0, 1, 4}  # of equals the first


def test_who_says_nothing_of_a_position_has_no_say_there():
    silent = SparseLogProbs(np.array([[0], [3]], np.int32), np.array([[-np.inf], [math.log(0.9)]], np.float32))
    both = merge([silent, rows({1: 0.7}, {3: 0.5})], [1, 3])
    alone = merge([rows({1: 0.7}, {3: 0.5})], [1, 3])
    assert both[0] == pytest.approx(alone[0])
    assert both[1][3] == pytest.approx(0.7)


@pytest.mark.parametrize("average", AVERAGES)
def test_where_nobody_says_anything_the_text_itself_is_all(average: Average):
    silent = SparseLogProbs(np.zeros((1, 2), np.int32), np.full((1, 2), -np.inf, np.float32))
    assert merge([silent, silent], [4], average=average)[0] == {t: float(t == 4) for t in range(SIZE)}


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("temperature", [1e-3, 0.1, 1.0])
def test_certain_members_that_differ_give_numbers(average: Average, temperature: float):
    (found,) = merge([rows({1: 1.0}), rows({2: 1.0})], [3], average=average, temperature=temperature)
    assert sum(found.values()) == pytest.approx(1)
    assert found[1] == pytest.approx(found[2])


probabilities = st.dictionaries(st.integers(0, SIZE - 1), st.floats(0.02, 1), min_size=1, max_size=4)
member = st.tuples(probabilities, st.floats(0.1, 0.95)).map(
    lambda told: {token: value * told[1] / sum(told[0].values()) for token, value in told[0].items()}
)


@settings(max_examples=30, deadline=None)
@given(st.lists(member, min_size=1, max_size=4), st.sampled_from(AVERAGES), st.sampled_from([0.1, 0.5, 1.0, 3.0]))
def test_it_is_that_over_the_whole_vocabulary(members: list[dict[int, float]], average: Average, temperature: float):
    (found,) = merge([rows(each) for each in members], [0], average=average, temperature=temperature)
    expected = reference(members, average, temperature)
    assert found == pytest.approx(dict(enumerate(expected)), rel=1e-3, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(member, st.integers(1, 4), st.sampled_from(AVERAGES))
def test_equal_members_agree_with_each(told: dict[int, float], count: int, average: Average):
    (found,) = merge([rows(told)] * count, [min(told)], average=average)
    assert found == pytest.approx(dict(enumerate(dense(told))), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(member, min_size=2, max_size=4), st.sampled_from(AVERAGES))
def test_the_order_of_members_changes_no_bit(members: list[dict[int, float]], average: Average):
    results = {
        consensus(
            [rows(each) for each in order], np.array([1]), vocabulary_size=SIZE, k=4, average=average, temperature=0.3
        ).log_probs.tobytes()
        for order in permutations(members)
    }
    assert len(results) == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(member, min_size=1, max_size=3), st.sampled_from(AVERAGES))
def test_cold_it_is_one_hot_on_the_likeliest(members: list[dict[int, float]], average: Average):
    expected = reference(members, average, 1.0)
    first, second = sorted(expected, reverse=True)[:2]
    if first / second < 1.01:
        return  # a tie stays one
    (found,) = merge([rows(each) for each in members], [0], average=average, temperature=1e-4)
    assert found[expected.index(first)] == pytest.approx(1)
    (warm,) = merge([rows(each) for each in members], [0], average=average, temperature=1.0)
    assert max(warm.values()) == pytest.approx(first, rel=1e-3)
