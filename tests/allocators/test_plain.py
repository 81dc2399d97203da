import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import STUDENT, TEACHER, Row, candidates, choose, chosen, make, rows, scores

from lada.allocators.base import ALLOCATORS
from lada.allocators.selection import Budgeted, top
from lada.core.terms import Selection

NAN = math.nan
BUDGETED = (
    "random",
    "confident",
    "dual_min_ce",
    "rho_loss",
    "winner",
    "verified",
    "teachable",
    "longest",
    "shortest",
    "self_verified",
)
WITH_GOLD = [method.name for method in ALLOCATORS if "gold" in method.options.model_fields]


def test_the_index_holds_every_rule():
    assert {"all", "lada", "race", *BUDGETED} <= set(ALLOCATORS.names())


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


@pytest.mark.parametrize("name", sorted({*ALLOCATORS.names()} - {"recorded", "oracle"}))  # which need options
def test_nothing_to_choose_from(name: str):
    assert choose(name, candidates([])) == []


def test_every_rule_reads_verdicts_or_not_as_it_is_told():
    """Each runs with the same information as the others, but for those that always or never read verdicts."""
    others = {"verified", "lada_paper", "peer_review", "recorded", "oracle"}
    assert {method.name for method in ALLOCATORS} - set(WITH_GOLD) == others


def told(name: str, table: list[Row], *, gold: bool) -> list[tuple[int, str]]:
    """Return what a rule chooses where the student finds some tokens of each path likelier than others."""
    looks = [scores(0.5, 0.25 + 0.01 * place) for place in range(len(table))]
    given = candidates(table, looks=looks, read=lambda place, text: scores(0.5, 0.9))
    return choose(name, given, gold=gold)


@given(rows(), st.sampled_from(WITH_GOLD))
def test_without_gold_no_rule_reads_a_verdict(table: list[Row], name: str):
    blind = [replace(row, teacher_right=None, student_right=None) for row in table]
    assert told(name, table, gold=False) == told(name, blind, gold=False)


@given(rows(), st.sampled_from([name for name in WITH_GOLD if name != "lada_shuffled"]))  # a control that errs
def test_with_gold_no_rule_takes_a_path_that_is_known_to_be_wrong(table: list[Row], name: str):
    for place, source in told(name, table, gold=True):
        assert (table[place].teacher_right if source == "teacher" else table[place].student_right) is not False


@given(rows(), st.sampled_from([name for name in WITH_GOLD if name != "teachable"]))
def test_where_nobody_knows_what_is_right_gold_changes_nothing(table: list[Row], name: str):
    blind = [replace(row, teacher_right=None, student_right=None) for row in table]
    assert told(name, blind, gold=True) == told(name, blind, gold=False)


def test_a_budget_is_filled_with_what_is_not_known_to_be_wrong():
    # The best by each rule is wrong; the next best is taken in its place.
    table = candidates(
        [
            Row(teacher_mean=-0.1, judged_mean=-2.0, teacher_right=False),
            Row(teacher_mean=-0.2, judged_mean=-1.0, teacher_right=True),
            Row(teacher_mean=-0.3, judged_mean=-0.9),
            Row(teacher_mean=-0.4, judged_mean=-0.8, teacher_right=False),
        ]
    )
    for name in ("confident", "dual_min_ce", "rho_loss"):
        assert choose(name, table, budget=2) == [(0, "teacher"), (1, "teacher")]
        assert choose(name, table, budget=2, gold=True) == [(1, "teacher"), (2, "teacher")]
    assert choose("all", table, gold=True) == [(1, "teacher"), (2, "teacher")]
    assert sorted(choose("random", table, budget=3, gold=True)) == [(1, "teacher"), (2, "teacher")]
    assert sorted(choose("ddk", table, budget=3, gold=True)) == [(1, "teacher"), (2, "teacher")]


def test_the_draws_without_gold_are_the_first_of_the_same_order_with_it():
    table = [Row(teacher_right=None if i % 2 else False) for i in range(20)]
    everything = choose("random", candidates(table), budget=20)
    assert choose("random", candidates(table), budget=20, gold=True) == [pick for pick in everything if pick[0] % 2]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (Row("1", "2", False, None, teacher_least=-1.0, student_least=-2.0), "student"),
        (Row("1", "2", True, False, teacher_least=-2.0, student_least=-1.0), "teacher"),
        (Row("1", "2", False, False), None),
        (Row("1", "2", True, None, teacher_least=-2.0, student_least=-1.0), "student"),
    ],
)
def test_winner_with_gold_is_a_contest_of_what_is_not_known_to_be_wrong(row: Row, expected: str | None):
    assert choose("winner", candidates([row]), gold=True) == ([] if expected is None else [(0, expected)])


def test_teachable_without_gold_is_the_lower_loss_of_a_path_with_an_answer():
    table = [
        Row(teacher_right=False, student_right=True, teacher_mean=-0.25),
        Row(teacher_right=True, student_right=False, teacher_mean=-0.75),
        Row(teacher=None, teacher_mean=-0.25),
    ]
    assert choose("teachable", candidates(table), gold=False) == [(0, "teacher")]
    assert choose("teachable", candidates([Row(teacher_right=False, teacher_mean=-0.25)])) == []


def test_longest_and_shortest_count_bytes():
    # Sizes that are claimed must not count.
    table = candidates([Row(path="é" * (size // 2), bytes=(size % 7, 5)) for size in (30, 10, 20, 10)])
    assert choose("longest", table) == [(0, "teacher"), (2, "teacher"), (1, "teacher"), (3, "teacher")]
    assert choose("shortest", table, budget=2) == [(1, "teacher"), (3, "teacher")]
    assert choose("longest", table, budget=0.5) == [(0, "teacher"), (2, "teacher")]


@pytest.mark.parametrize(
    ("right", "answer", "gold", "expected"),
    [
        (True, "2", True, True),
        (False, "2", True, False),
        (None, "2", True, True),
        (False, "2", False, True),
        (False, None, False, False),
        (None, None, True, False),
    ],
)
def test_self_verified_takes_the_students_own_paths(right: bool | None, answer: str | None, gold: bool, expected: bool):
    table = candidates([Row("1", answer, True, right)])
    assert choose("self_verified", table, gold=gold) == ([(0, "student")] if expected else [])


def test_self_verified_draws_its_budget():
    table = [Row(student_right=i % 2 == 0) for i in range(20)]
    everything = choose("self_verified", candidates(table))
    assert sorted(everything) == [(i, "student") for i in range(0, 20, 2)]
    assert choose("self_verified", candidates(table), budget=4) == everything[:4]


def test_self_verified_may_begin_with_the_teachers_right_paths():
    table = [
        Row("1", "2", True, False),
        Row("1", "2", False, True),
        Row(None, "2", True, True),
        Row("1", "1", True, True),
    ]
    by_round = [
        dict(choose("self_verified", candidates(table, round=round), taught=2, gold=True)) for round in (1, 2, 3, 4)
    ]
    taught, own = {0: "teacher", 3: "teacher"}, {1: "student", 2: "student", 3: "student"}
    assert by_round == [taught, taught, own, own]
    assert dict(choose("self_verified", candidates(table, round=1), gold=True)) == own


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
