import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import STUDENT, TEACHER, Row, candidates, choose, chosen, make, rows

from lada.allocators.base import ALLOCATORS
from lada.allocators.selection import Budgeted, top
from lada.core.terms import Selection

NAN = math.nan
BUDGETED = ("random", "confident", "dual_min_ce", "rho_loss", "winner", "verified", "teachable")


def test_the_index_holds_every_rule():
    assert {"all", "lada", *BUDGETED} <= set(ALLOCATORS.names())


def test_all_takes_every_sample_by_the_teachers_path():
    rule = make("all")
    state, allocation, diagnostics = rule.apply(rule.init(3), candidates([Row(), Row(), Row()], round=2))
    assert (state, diagnostics) == ({}, {})
    assert (allocation.teacher, allocation.student, allocation.round) == (TEACHER, STUDENT, 2)
    assert allocation.choices == tuple(Selection(f"q{i}", "teacher", 1.0, "every sample") for i in range(3))
    assert allocation.scores == {}


@pytest.mark.parametrize(
    ("count", "budget", "expected"), [(10, 3, 3), (10, None, 5), (7, None, 3), (1, None, 1), (4, 9, 4), (0, None, 0)]
)
def test_random_takes_the_budget_or_half(count: int, budget: int | None, expected: int):
    picks = choose("random", candidates([Row()] * count), budget=budget)
    assert len(picks) == len(set(picks)) == expected
    assert {source for _, source in picks} <= {"teacher"}


def test_random_depends_on_the_seed_alone():
    def draw(seed: int) -> list[tuple[int, str]]:
        return choose("random", candidates([Row()] * 30, seed=seed), budget=15)

    assert draw(1) == draw(1)
    assert sorted(draw(1)) != sorted(draw(2))


def test_confident_takes_the_highest_mean_log_prob():
    # Sums and least log-probs say otherwise, and must not count.
    table = candidates(
        [
            Row(teacher_mean=-3.0, teacher_least=-0.1),
            Row(teacher_mean=-1.0, teacher_least=-9.0),
            Row(teacher_mean=NAN),
            Row(teacher_mean=-2.0),
            Row(teacher_mean=-1.0),
        ]
    )
    assert choose("confident", table, budget=3) == [(1, "teacher"), (4, "teacher"), (3, "teacher")]
    assert [position for position, _ in choose("confident", table)] == [1, 4, 3, 0]


def test_dual_min_ce_tells_near_ties_apart():
    near = [Row(teacher_mean=-1.0 + gap, student_mean=-1.0) for gap in (1e-9, -1e-9, 0.0)]
    assert choose("dual_min_ce", candidates(near)) == [(0, "teacher")]


def test_dual_min_ce_compares_nats_per_byte():
    # 4 tokens each. Gaps in nats per byte (student's loss less the teacher's):
    table = candidates(
        [
            Row(teacher_mean=-1.0, student_mean=-2.0),  # 8/10 - 4/10 = 0.4
            Row(teacher_mean=-2.0, student_mean=-1.0),  # 4/10 - 8/10 < 0
            Row(teacher_mean=-2.0, student_mean=-1.0, bytes=(40, 5)),  # 4/5 - 8/40 = 0.6
            Row(teacher_mean=-1.0, student_mean=-1.0),  # 0 is not below
            Row(teacher_mean=-1.0, student_mean=NAN),
            Row(teacher_mean=NAN, student_mean=-1.0),
            Row(teacher_mean=0.0, student_mean=-0.5),  # 2/10 = 0.2
        ]
    )
    assert choose("dual_min_ce", table) == [(2, "teacher"), (0, "teacher"), (6, "teacher")]
    assert choose("dual_min_ce", table, budget=1) == [(2, "teacher")]
    rule = make("dual_min_ce")
    scores = rule.apply(rule.init(0), table)[1].scores
    assert [scores["q0"], scores["q2"], scores["q3"]] == pytest.approx([0.4, 0.6, 0.0])


def test_rho_loss_is_what_the_student_can_still_gain_on_the_teachers_path():
    # 4 tokens each. Losses in nats per byte, of the student on the teacher's path less the teacher's own; how the
    # student finds its own path must not count.
    table = candidates(
        [
            Row(judged_mean=-2.0, teacher_mean=-1.0, student_mean=-0.1),  # 8/10 - 4/10 = 0.4
            Row(judged_mean=-1.0, teacher_mean=-2.0, student_mean=-9.0),  # 4/10 - 8/10 < 0
            Row(judged_mean=-2.0, teacher_mean=-1.0, bytes=(5, 40)),  # 8/5 - 4/5 = 0.8
            Row(judged_mean=-3.0, teacher_mean=-3.0),  # hard for both: 0
            Row(judged_mean=NAN, teacher_mean=-1.0),
            Row(judged_mean=-1.0, teacher_mean=NAN),
            Row(judged_mean=-3.0, teacher_mean=-2.5),  # 12/10 - 10/10 = 0.2
        ]
    )
    assert choose("rho_loss", table) == [(2, "teacher"), (0, "teacher"), (6, "teacher")]
    assert choose("rho_loss", table, budget=0.1) == [(2, "teacher")]
    rule = make("rho_loss")
    scores = rule.apply(rule.init(0), table)[1].scores
    assert [scores["q0"], scores["q1"], scores["q2"], scores["q3"]] == pytest.approx([0.4, -0.4, 0.8, 0.0])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (Row("1", "2", teacher_least=-1.0, student_least=-2.0), "teacher"),
        (Row("1", "2", teacher_least=-2.0, student_least=-1.0), "student"),
        (Row("1", "2", teacher_least=-2.0, student_least=-1.0, teacher_mean=-0.1, student_mean=-0.9), "student"),
        (Row("1", "2", teacher_least=-1.0, student_least=-1.0), "student"),
        (Row("1", "1", teacher_least=-1.0, student_least=-2.0), None),
        (Row(None, "2", teacher_least=-0.1, student_least=-2.0), "student"),
        (Row("1", None, teacher_least=-2.0, student_least=-0.1), "teacher"),
        (Row(None, None), None),
        (Row("1", "2", teacher_least=NAN, student_least=-1.0), "student"),
        (Row("1", "2", teacher_least=-1.0, student_least=NAN), "teacher"),
        (Row("1", "2", teacher_least=NAN, student_least=NAN), None),
    ],
)
def test_winner(row: Row, expected: str | None):
    assert choose("winner", candidates([row])) == ([] if expected is None else [(0, expected)])


def test_winner_takes_the_teachers_wins_first_and_of_each_the_surest():
    least = [(-3.0, -4.0), (-5.0, -1.0), (-2.0, -9.0), (-7.0, -2.0)]
    table = candidates([Row("1", "2", teacher_least=t, student_least=s) for t, s in least])
    assert choose("winner", table) == [(2, "teacher"), (0, "teacher"), (1, "student"), (3, "student")]
    assert choose("winner", table, budget=1) == [(2, "teacher")]
    assert choose("winner", table, budget=3) == [(2, "teacher"), (0, "teacher"), (1, "student")]


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        (True, True, "teacher"),
        (True, False, "teacher"),
        (False, True, "student"),
        (False, False, None),
        (None, None, None),
        (None, True, "student"),
        (True, None, "teacher"),
    ],
)
def test_verified(teacher: bool | None, student: bool | None, expected: str | None):
    table = candidates([Row(teacher_right=teacher, student_right=student)])
    assert choose("verified", table) == ([] if expected is None else [(0, expected)])


def test_verified_draws_its_budget_from_all_that_are_right():
    table = [Row(teacher_right=i % 3 == 0, student_right=i % 3 == 1) for i in range(30)]
    everything = choose("verified", candidates(table))
    assert sorted(everything) == [(i, ("teacher", "student")[i % 3]) for i in range(30) if i % 3 < 2]
    assert [source for _, source in everything] == ["teacher"] * 10 + ["student"] * 10
    assert choose("verified", candidates(table), budget=5) == everything[:5]
    assert sorted(choose("verified", candidates(table, seed=8), budget=5)) != sorted(everything[:5])


def test_teachable_is_what_the_teacher_alone_gets_right_with_the_lower_loss():
    table = [
        Row(teacher_right=True, student_right=False, teacher_mean=-0.25),
        Row(teacher_right=True, student_right=True, teacher_mean=-0.25),
        Row(teacher_right=False, student_right=False, teacher_mean=-0.25),
        Row(teacher_right=True, student_right=False),  # as sure as the student
        Row(teacher_right=True, student_right=False, teacher_mean=-0.75),
        Row(teacher_mean=-0.25),  # no gold answer: the loss alone
        Row(),
    ]
    assert sorted(choose("teachable", candidates(table))) == [(0, "teacher"), (5, "teacher")]


def test_teachable_draws_its_budget():
    table = [Row(teacher_right=True, student_right=False, teacher_mean=-0.25)] * 30
    everything = choose("teachable", candidates(table))
    assert choose("teachable", candidates(table), budget=5) == everything[:5]
    assert sorted(everything[:5]) != sorted(choose("teachable", candidates(table, seed=8), budget=5))


@given(rows(), st.sampled_from(BUDGETED), st.integers(1, 5))
def test_a_budget_is_kept_and_no_sample_is_taken_twice(table: list[Row], name: str, budget: int):
    picks = choose(name, candidates(table), budget=budget)
    positions = [position for position, _ in picks]
    assert len(positions) <= budget
    assert len(set(positions)) == len(positions)
    assert picks == choose(name, candidates(table), budget=budget)


@pytest.mark.parametrize("name", sorted({*ALLOCATORS.names()} - {"recorded"}))  # which needs a run
def test_nothing_to_choose_from(name: str):
    assert choose(name, candidates([])) == []


@given(rows(), st.sampled_from(["all", "random", "confident", "dual_min_ce", "rho_loss", "winner"]))
def test_rules_without_gold_answers_read_none(table: list[Row], name: str):
    blind = [replace(row, teacher_right=None, student_right=None) for row in table]
    assert choose(name, candidates(table)) == choose(name, candidates(blind))


@pytest.mark.parametrize(("budget", "count", "limit"), [(None, 9, None), (4, 2, 4), (0.4, 1000, 400), (0.01, 9, 1)])
def test_a_budget_is_a_number_or_a_share(budget: int | float | None, count: int, limit: int | None):
    assert Budgeted(budget=budget).limit(count) == limit


@pytest.mark.parametrize("budget", [0, -3, 0.0, 1.0, -0.5])
def test_a_budget_below_one_is_refused(budget: int | float):
    with pytest.raises(ValidationError, match=f"budget is {budget}; expected at least 1 sample, a share"):
        Budgeted(budget=budget)


def test_top_ranks_only_what_is_allowed():
    scores = np.array([1.0, 3.0, 2.0, 3.0])
    assert top(scores, np.array([True, True, True, True]), None) == [1, 3, 2, 0]
    assert top(scores, np.array([True, False, True, True]), 2) == [3, 2]
    assert top(scores, np.zeros(4, bool), 2) == []


def test_rules_without_memory_hand_their_state_on():
    for name in ("all", *BUDGETED):
        rule = make(name)
        state, allocation, _ = rule.apply(rule.init(0), candidates([Row()]))
        assert state == {}
        assert chosen(allocation) == chosen(rule.apply(state, candidates([Row()]))[1])
