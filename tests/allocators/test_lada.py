"""LaDa's filter: the student's own path where its answer is right, else the teacher's right path."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import STUDENT, TEACHER, Row, candidates, choose, make, rows

from lada.allocators.base import ALLOCATORS, Candidates
from lada.core.needs import needs
from lada.core.terms import Verb

BOTH, OWN, TAUGHT, NEITHER = (
    Row("1", "1", True, True),
    Row("1", "2", False, True),
    Row("1", "2", True, False),
    Row("1", "2", False, False, teacher_mean=-0.25),
)
SURER, LESS_SURE = Row(teacher_mean=-0.25), Row(teacher_mean=-0.75)
"""The two answer differently, and no verdict is known; the student's mean log-prob is -0.5."""
SAME, SILENT = Row("1", "1"), Row(None, None)


def sources(table: Candidates | Sequence[Row], name: str = "lada", **options: Any) -> dict[int, str]:
    """Return from whom each chosen path is, by position."""
    found = choose(name, table if isinstance(table, Candidates) else candidates(table), **options)
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (BOTH, "student"),
        (OWN, "student"),
        (TAUGHT, "teacher"),
        (NEITHER, None),
        # FedMKT's rule and the confidence of both writers do not count where answers are known.
        (replace(TAUGHT, teacher_mean=-9.0), "teacher"),
        (replace(OWN, student_mean=-9.0), "student"),
        # Two ways to be right, such as 0.5 and 1/2, or the same wrong answer.
        (Row("1", "1", False, False), None),
        (Row("0.5", "1/2", True, True), "student"),
        # A path that ends without an answer is wrong.
        (Row(None, "2", False, True), "student"),
        (Row("1", None, True, False), "teacher"),
        (Row(None, None, False, False), None),
    ],
)
def test_with_gold_the_own_right_path_comes_before_the_teachers(row: Row, expected: str | None):
    assert sources([row]) == ({} if expected is None else {0: expected})


@pytest.mark.parametrize(("role", "both"), [("client", "student"), ("server", "teacher")])
def test_an_llm_that_adapts_prefers_a_clients_right_path(role: str, both: str):
    table = replace(candidates([BOTH, OWN, TAUGHT, NEITHER, SAME, SURER, LESS_SURE]), role=role)
    expected = {0: both, 1: "student", 2: "teacher", 4: both, 5: "teacher"}
    assert sources(table, adapt=True) == expected
    assert sources(table) == expected | {0: "student", 4: "student"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (SAME, "student"),
        (SURER, "teacher"),  # FedMKT's rule: a loss of 0.1 nats per byte is below one of 0.2
        (LESS_SURE, None),
        (replace(SURER, bytes=(4, 10)), None),  # 0.25 nats per byte
        (Row(teacher_mean=-0.5), None),  # equal losses
        (Row(None, "2", teacher_mean=-0.25), None),
        (Row("1", None, teacher_mean=-0.75), "teacher"),  # a path without an answer counts as infinitely unsure
        (SILENT, None),
        (Row(teacher_mean=float("nan")), None),
    ],
)
def test_without_gold_the_same_answer_is_the_own_path_and_another_one_is_that_of_a_trusted_teacher(
    row: Row, expected: str | None
):
    wanted = {} if expected is None else {0: expected}
    lying = replace(row, teacher_right=False, student_right=False)
    assert sources([row]) == sources([row], gold=False) == sources([lying], gold=False) == wanted


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        # The two answers differ. The teacher is the surer of the two, and then the less sure.
        (True, None, ("teacher", "teacher")),
        (False, None, (None, None)),
        (None, True, ("student", "student")),
        (None, False, ("teacher", None)),
        (None, None, ("teacher", None)),
    ],
)
def test_an_unknown_verdict_leaves_the_other_and_trust(
    teacher: bool | None, student: bool | None, expected: tuple[str | None, str | None]
):
    table = [replace(row, teacher_right=teacher, student_right=student) for row in (SURER, LESS_SURE)]
    assert sources(table) == {i: source for i, source in enumerate(expected) if source}


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [(None, False, "teacher"), (True, False, "teacher"), (True, None, "student"), (None, True, "student")],
)
def test_what_one_party_knows_of_an_answer_that_both_give(
    teacher: bool | None, student: bool | None, expected: str | None
):
    assert sources([replace(SAME, teacher_right=teacher, student_right=student)]) == {0: expected}


def test_an_answer_known_to_be_wrong_is_not_reached_by_giving_it_too():
    assert sources([replace(SAME, teacher_right=False)]) == {}
    assert sources([replace(SAME, teacher_right=False)], gold=False) == {0: "student"}


def test_an_empty_path_of_its_own_leaves_the_teachers():
    table = candidates([BOTH, BOTH])
    paths = (replace(table.student_paths[0], text=""), table.student_paths[1])
    assert sources(replace(table, student_paths=paths)) == {0: "teacher", 1: "student"}


def vouching(same: int, *, sure: int = 10, count: int = 100) -> list[Row]:
    """Return samples. The student is surest of the first `sure`, and `same` of these have the same answer.

    On all others the teacher gives another answer and is the less sure, so FedMKT's rule trusts it nowhere.
    """
    surest = [Row("1", "1" if i < same else "2", student_mean=-0.01) for i in range(sure)]
    return [replace(row, teacher_mean=-0.75) for row in surest + [Row()] * (count - sure)]


@pytest.mark.parametrize(
    ("same", "options", "vouched"),
    [
        (9, {}, True),
        (8, {}, False),  # 0.8 is not more than 0.8
        (8, {"vouch": 0.79}, True),
        (10, {"vouch": 1.0}, False),
    ],
)
def test_a_teacher_that_agrees_where_the_student_is_surest_is_trusted_everywhere(
    same: int, options: dict[str, Any], vouched: bool
):
    expected = dict.fromkeys(range(same), "student") | (dict.fromkeys(range(same, 100), "teacher") if vouched else {})
    assert sources(vouching(same), gold=False, **options) == sources(vouching(same), **options) == expected


def test_too_few_samples_vouch_for_no_teacher():
    assert sources(vouching(9, sure=9, count=99)) == dict.fromkeys(range(9), "student")


def test_a_server_vouches_for_no_client():
    table = replace(candidates(vouching(10)), role="server")
    assert sources(table, vouch=0.0) == dict.fromkeys(range(10), "student")
    # A verdict that is known needs no trust, and neither does FedMKT's rule: the host hides untrusted likelihoods.
    assert sources(replace(candidates([TAUGHT, SURER, NEITHER]), role="server")) == {0: "teacher", 1: "teacher"}


def test_order_reasons_scores_and_the_share_of_own_paths():
    rule = make("lada")
    state, allocation, told = rule.apply(rule.init(1), candidates([BOTH, OWN, TAUGHT, NEITHER], round=3))
    assert (state, told, allocation.scores) == ({}, {"own": pytest.approx(2 / 3)}, {})
    assert (allocation.teacher, allocation.student, allocation.round) == (TEACHER, STUDENT, 3)
    assert {choice.sample_id: (choice.source, choice.score, choice.reason) for choice in allocation.choices} == {
        "q0": ("student", 1.0, "the student's own answer counts as right"),
        "q1": ("student", 1.0, "the student's own answer counts as right"),
        "q2": ("teacher", 1.0, "only the teacher's answer counts as right"),
    }


@pytest.mark.parametrize("name", ["lada", "lada_coin", "lada_shuffled"])
def test_nothing_to_choose_from(name: str):
    for table in ([], [NEITHER] * 3):
        rule = make(name)
        state, allocation, told = rule.apply(rule.init(1), candidates(table))
        assert (state, allocation.choices, told) == ({}, (), {"own": 0.0})


@pytest.mark.parametrize(("budget", "expected"), [(None, 30), (7, 7), (0.5, 20), (0.01, 1), (99, 30)])
def test_a_budget_is_drawn_from_what_either_gets_right(budget: float | None, expected: int):
    table = [BOTH, OWN, TAUGHT, NEITHER] * 10
    whole = sources(table)
    assert whole == {i: "teacher" if i % 4 == 2 else "student" for i in range(40) if i % 4 < 3}
    drawn = choose("lada", candidates(table), budget=budget)
    assert len(drawn) == expected
    assert drawn == choose("lada", candidates(table))[:expected]
    others = {tuple(sorted(choose("lada", candidates(table, seed=seed), budget=budget))) for seed in range(9)}
    assert (len(others) > 1) == (expected < 30)


@given(rows(40), st.booleans(), st.sampled_from([None, 3, 0.25]), st.integers(0, 9))
def test_no_path_is_known_to_be_wrong_and_no_sample_comes_twice(
    table: list[Row], gold: bool, budget: float | None, seed: int
):
    given = candidates(table, seed=seed)
    found = sources(given, gold=gold, budget=budget)
    assert found == sources(given, gold=gold, budget=budget)
    for i, source in found.items():
        row = table[i]
        own = row.teacher is not None and row.teacher == row.student
        if gold:
            assert (row.student_right if source == "student" else row.teacher_right) is not False
            assert (source == "student") == (own if row.student_right is None else row.student_right)
        else:
            assert (source == "student") == own


def known(row: Row) -> bool:
    return None not in (row.teacher_right, row.student_right)


@given(rows(40))
def test_with_gold_a_question_is_chosen_if_either_party_gets_it_right(table: list[Row]):
    table = [row if known(row) else replace(row, teacher_right=True, student_right=False) for row in table]
    right = {i for i, row in enumerate(table) if row.teacher_right or row.student_right}
    own = {i for i, row in enumerate(table) if row.student_right}
    assert sources(table) == {i: "student" if i in own else "teacher" for i in right}
    # `verified` takes the same questions, and prefers the teacher.
    assert sources(table).keys() == sources(table, "verified").keys()


@given(rows(40), st.booleans(), st.randoms())
def test_the_order_of_samples_changes_nothing_but_draws(table: list[Row], gold: bool, random):
    order = list(range(len(table)))
    random.shuffle(order)
    moved = sources([table[i] for i in order], gold=gold)
    assert {order[i]: source for i, source in moved.items()} == sources(table, gold=gold)


@pytest.mark.parametrize("name", ["lada", "lada_coin", "lada_shuffled"])
def test_it_needs_answers_and_confidence_of_both_and_no_trials(name: str):
    sure = {Verb.ANSWER, Verb.CONFIDENCE}
    assert ALLOCATORS.make(name, {}).needs == needs(sure, sure, own_paths=True)


@pytest.mark.parametrize("option", [{"laps": 2}, {"vouch": 1.5}, {"budget": 0}, {"gold": "perhaps"}])
def test_options_that_it_does_not_have_are_refused(option: dict[str, Any]):
    with pytest.raises(ValidationError):
        make("lada", **option)


def test_in_the_control_other_questions_have_own_paths():
    # 12 own paths are right and 30 of the teacher's, for 42 of 60 questions.
    table = [OWN] * 12 + [TAUGHT] * 30 + [NEITHER] * 18
    dealt = set()
    for seed in range(20):
        found = sources(candidates(table, seed=seed), "lada_shuffled")
        own = {i for i, source in found.items() if source == "student"}
        dealt.add(tuple(sorted(own)))
        assert len(own) == 12
        assert own != set(range(12))
        # Wherever the student's path was not dealt, the teacher's is studied if it is right, and no other.
        assert found.keys() - own == set(range(12, 42)) - own
    assert len(dealt) == 20


@given(rows(40), st.booleans(), st.integers(0, 9))
def test_the_control_has_as_many_own_paths_and_the_teachers_right_ones(table: list[Row], gold: bool, seed: int):
    given = candidates(table, seed=seed)
    plain, dealt = sources(given, gold=gold), sources(given, "lada_shuffled", gold=gold)
    assert list(plain.values()).count("student") == list(dealt.values()).count("student")
    taught = {i for i, source in dealt.items() if source == "teacher"}
    assert {i for i, source in plain.items() if source == "teacher"} <= dealt.keys()
    if gold:
        assert not any(table[i].teacher_right is False for i in taught)
        assert {i for i, row in enumerate(table) if row.teacher_right} <= dealt.keys()


def test_verdicts_are_dealt_to_questions_of_all_domains():
    table = [replace(OWN, domain="farm")] * 20 + [replace(NEITHER, domain="port")] * 20
    own = {i for i, source in sources(candidates(table), "lada_shuffled").items() if source == "student"}
    assert 0 < np.count_nonzero(np.array(sorted(own)) >= 20) < 20


def test_the_same_seed_deals_the_same():
    table = [BOTH, TAUGHT] * 20
    assert choose("lada_shuffled", candidates(table)) == choose("lada_shuffled", candidates(table))
    assert choose("lada_shuffled", candidates(table, seed=8)) != choose("lada_shuffled", candidates(table))


def test_a_coin_decides_only_where_both_are_right():
    table = [BOTH] * 60 + [OWN] * 20 + [TAUGHT] * 20 + [NEITHER] * 20
    falls = set()
    for seed in range(20):
        found = sources(candidates(table, seed=seed), "lada_coin")
        assert found.keys() == set(range(100))
        assert {found[i] for i in range(60, 80)} == {"student"}
        assert {found[i] for i in range(80, 100)} == {"teacher"}
        own = tuple(i for i in range(60) if found[i] == "student")
        assert 12 < len(own) < 48  # 60 tosses are outside in one of 300,000 draws
        falls.add(own)
    assert len(falls) == 20


@given(rows(40), st.booleans(), st.integers(0, 9))
def test_a_coin_leaves_the_questions_as_they_are(table: list[Row], gold: bool, seed: int):
    given = candidates(table, seed=seed)
    plain, tossed = sources(given, gold=gold), sources(given, "lada_coin", gold=gold)
    assert plain.keys() == tossed.keys()
    assert all(plain[i] == "student" for i, source in tossed.items() if source == "student")
