"""SCAS: what is right, the cheapest to learn first."""

import pytest
from tables import Row, candidates, choose, make, scores

LOOKS = [
    scores(0.5),  # 0.25 + 0.25 - 1 + 1 = 0.5
    scores(0.9),  # 0.81 + 0.01 - 1.8 + 1 = 0.02
    scores(0.2),  # 0.04 + 0.64 - 0.4 + 1 = 1.28
    scores(0.9, 0.2),  # the mean of the two, 0.65
    None,
]


def table(*right: bool | None):
    return candidates([Row(teacher_right=each) for each in right], looks=LOOKS[: len(right)])


def test_the_cost_by_hand():
    found = make("scas").apply({}, table(*[True] * 5))[1].scores
    assert [-found[f"q{i}"] for i in range(4)] == pytest.approx([0.5, 0.02, 1.28, 0.65], rel=1e-5)


def test_of_what_is_right_the_cheapest_first():
    assert [i for i, _ in choose("scas", table(*[True] * 5))] == [1, 0, 3, 2]
    assert [i for i, _ in choose("scas", table(True, False, True, True, True))] == [0, 3, 2]
    assert [i for i, _ in choose("scas", table(True, False, True, True, True), budget=2)] == [0, 3]
    assert [i for i, _ in choose("scas", table(True, False, True), gold=False)] == [1, 0, 2]


def test_what_nobody_can_check_may_be_taken():
    assert [i for i, _ in choose("scas", table(None, None, False))] == [1, 0]
