"""The race, with a made student: a copy finds likelier what is in the style of what it studied last."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import finalize

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import Row, candidates, chosen, make, rows

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.race import ALIKE, DECIDED, FEWEST, Finish
from lada.allocators.selection import Budgeted
from lada.core.needs import needs
from lada.core.terms import Allocation, Verb

NEW = Row("1", "2", True, False, teacher_mean=-0.25)
"""Only the teacher is right, and it is the more confident of the two."""
KNOWN, WRONG = Row("1", "1", True, True), Row("1", "2", False, False, teacher_mean=-0.25)
UNSURE = Row("1", "2", True, False, teacher_mean=-0.75)
"""The same, but the teacher is the less sure."""
PRIOR, RACED = (
    "the teacher is taken to be right, the student is not",
    "likelier to the copy of the student that learnt more",
)
Weights = tuple[tuple[int, ...], ...]
"""What a copy has studied, study by study."""


@dataclass
class Student:
    """A copy solves as many of the probes as it can learn from of what it studied last; path i is in style i % 2."""

    learnable: Sequence[int]
    style: np.ndarray = field(default_factory=lambda: np.arange(1000) % 2)
    log: list[tuple[Any, ...]] = field(default_factory=list)
    """What it was asked, in this order."""
    kept: Weights | None = None
    least: float = 0.0

    def study(self, chosen: Sequence[int], share: float, after: Weights | None = None) -> Weights:
        self.log.append(("study", list(chosen), share, after))
        return (*(after or ()), tuple(chosen))

    def examine(self, after: Weights, probes: Sequence[int], *, gold: bool = True) -> np.ndarray:
        self.log.append(("examine", after, list(probes), gold))
        return np.arange(len(probes)) < round(np.isin(after[-1], self.learnable).mean() * len(probes))

    def likelihoods(self, after: Weights, chosen: Sequence[int]) -> np.ndarray:
        self.log.append(("likelihoods", after, list(chosen)))
        share = self.style[list(after[-1])].mean()
        return np.where(self.style[list(chosen)] == 1, share, 1 - share) - 1.0

    def keep(self, after: Weights) -> None:
        assert self.kept is None
        self.kept = after

    def asked(self, what: str) -> list[tuple[Any, ...]]:
        return [entry[1:] for entry in self.log if entry[0] == what]


@dataclass
class Scripted(Student):
    """The first copy finds paths likelier by a row of `leans` than the second, lap by lap.

    In each examination that there is, the copies solve so many of the probes, the first ones.
    """

    learnable: Sequence[int] = ()
    leans: np.ndarray = field(default_factory=lambda: np.zeros((256, 1000)))
    solved: Sequence[tuple[int, int]] = ()

    def examine(self, after: Weights, probes: Sequence[int], *, gold: bool = True) -> np.ndarray:
        super().examine(after, probes, gold=gold)
        exam, copy = divmod(len(self.asked("examine")) - 1, 2)
        return np.arange(len(probes)) < self.solved[exam][copy]

    def likelihoods(self, after: Weights, chosen: Sequence[int]) -> np.ndarray:
        super().likelihoods(after, chosen)
        lap, copy = divmod(len(self.asked("likelihoods")) - 1, 2)
        return np.full(len(chosen), -2.0) + (self.leans[lap, list(chosen)] if copy == 0 else 0.0)


def in_styles(count: int, noise: float = 0.1) -> np.ndarray:
    """Return vectors of paths [count, 6]: path i is in style i % 2."""
    rng = np.random.default_rng(0)
    return (3 * np.eye(6)[np.arange(count) % 2] + noise * rng.normal(size=(count, 6))).astype(np.float32)


def offered(
    table: Sequence[Row], student: Student, vectors: np.ndarray | None = None, *, round: int = 1, seed: int = 7
) -> Candidates:
    read = in_styles(len(table)) if vectors is None else vectors
    return replace(candidates(table, round=round, seed=seed), read=lambda: read, trials=student)


def let_choose(
    table: Candidates, state: State | None = None, **options: Any
) -> tuple[State, Allocation, dict[str, float]]:
    filter = make("race", **options)
    return filter.apply(filter.init(1) if state is None else state, table)


def positions(allocation: Allocation) -> list[int]:
    return [position for position, _ in chosen(allocation)]


def reasons(allocation: Allocation) -> set[str]:
    return {choice.reason for choice in allocation.choices}


def test_two_students_keep_what_each_learns_from():
    for style in (0, 1):
        student = Student(range(style, 100, 2))
        state, allocation, told = let_choose(offered([NEW] * 100, student))
        kept = positions(allocation)
        assert len(kept) == 40  # 0.4 of 100
        assert {i % 2 for i in kept} == {style}
        assert reasons(allocation) == {RACED}
        assert {source for _, source in chosen(allocation)} == {"teacher"}
        # Of 25 probes one copy solves all and the other none.
        assert told == {"pool": 100.0, "worse copy": 0.0, "better copy": 1.0, "chance": pytest.approx(2 / 2**25)}
        assert state == {}
        assert student.kept is not None
        assert {i % 2 for study in student.kept[1:] for i in study} == {style}


def test_both_copies_begin_after_a_study_of_all_but_the_probes():
    student = Student(range(0, 100, 2))
    table = offered([NEW] * 100, student)
    longer = (replace(each, question=each.question + " please" * (i >= 50)) for i, each in enumerate(table.samples))
    let_choose(replace(table, samples=tuple(longer)), warm_up=0.2, lap=0.05, laps=2)
    probes = student.asked("examine")[0][1]
    assert len(probes) == 25  # half of the half with the shortest questions
    assert max(probes) < 50
    (warmed, share, after), *laps = student.asked("study")
    assert (share, after, sorted(warmed + probes)) == (0.2, None, list(range(100)))
    assert [(len(each), share, after) for each, share, after in laps] == [(25, 0.05, (tuple(warmed),))] * 2
    assert not {i for each, _, _ in laps for i in each} & set(probes)
    assert [each[1:] for each in student.asked("examine")] == [(probes, True)] * 2
    assert [each[1] for each in student.asked("likelihoods")] == [list(range(100))] * 2  # of the probes too


def test_without_a_first_study_the_copies_begin_with_the_student_s_own_weights():
    student = Student(range(0, 100, 2))
    let_choose(offered([NEW] * 100, student), warm_up=0.0, laps=2, probes=12, ends=0.5, gold=False)
    assert [(len(each), after) for each, _, after in student.asked("study")] == [(44, None)] * 2  # half of 88
    assert [(len(probes), gold) for _, probes, gold in student.asked("examine")] == [(12, False)] * 2


def test_each_copy_studies_the_end_that_it_found_likelier():
    values, leans = np.random.default_rng(1).normal(size=100), np.random.default_rng(2).normal(size=(3, 100))
    student = Scripted(leans=leans, solved=[(0, 0)])
    let_choose(offered([NEW] * 100, student, values[:, None].astype(np.float32)), laps=6)
    (warmed, _, _), *laps = student.asked("study")
    assert len(laps) == 6
    start = (tuple(warmed),)
    one, other = start, start
    for lap, by in enumerate((values, leans[0], leans[1])):
        order = sorted(warmed, key=lambda i, by=by: by[i])
        (first, share, after), (second, share_too, after_too) = laps[2 * lap : 2 * lap + 2]
        assert (after, after_too, share, share_too) == (one, other, 0.03, 0.03)
        if lap == 0 and first[0] in order[:25]:
            order = order[::-1]  # a component has no direction
        assert (first, second) == (order[-25:], order[:25])  # 0.33 of 75
        one, other = (*one, tuple(first)), (*other, tuple(second))
        judged = student.asked("likelihoods")[2 * lap : 2 * lap + 2]
        assert [copy for copy, _ in judged] == [one, other]
    assert [copy for copy, _, _ in student.asked("examine")] == [one, other]


@pytest.mark.parametrize("solved", [(8, 0), (0, 8)])
def test_scores_are_by_how_much_the_better_copy_finds_a_path_likelier(solved: tuple[int, int]):
    leans = np.random.default_rng(3).normal(size=(1, 100))
    student = Scripted(leans=leans, solved=[solved])
    _, allocation, told = let_choose(offered([NEW] * 100, student), laps=1)
    expected = leans[0] if solved[0] else -leans[0]
    assert [allocation.scores[f"q{i}"] for i in range(100)] == pytest.approx(expected.tolist())
    best = sorted(range(100), key=lambda i: -expected[i])[:40]
    assert positions(allocation) == best  # probes among them: none was studied yet
    assert [choice.score for choice in allocation.choices] == [allocation.scores[f"q{i}"] for i in best]
    assert set(best) & set(student.asked("examine")[0][1])
    assert told == {"pool": 100.0, "worse copy": 0.0, "better copy": 8 / 25, "chance": pytest.approx(2 / 2**8)}


# Copies of which one solves d probes more than the other, and all that the other does, differ so much in 2 / 2^d of all
# cases: in 1 for d = 1, 0.5 for 2, 0.016 for 7, 0.008 for 8.
@pytest.mark.parametrize(
    ("laps", "solved", "ends", "winner", "decided"),
    [
        (4, [(8, 0)], 2, 0, True),
        (4, [(0, 1)], 2, 1, False),
        (4, [(5, 5)], 2, 0, False),
        (4, [(2, 0), (7, 0), (0, 8)], 4, 1, True),
        (4, [(2, 0), (0, 7), (7, 0)], 4, 0, False),
        (4, [(3, 0), (0, 1)], 3, 1, False),
        (5, [(0, 8)], 3, 1, True),
        (1, [(4, 12)], 1, 1, True),
        (2, [(2, 0), (9, 1)], 2, 0, True),
    ],
)
def test_from_the_middle_on_a_race_ends_when_it_is_decided_or_the_copies_are_alike(
    laps: int, solved: list[tuple[int, int]], ends: int, winner: int, decided: bool
):
    student = Scripted(leans=np.random.default_rng(4).normal(size=(8, 100)), solved=solved)
    _, allocation, told = let_choose(offered([NEW] * 100, student), laps=laps)
    studies, exams = student.asked("study"), student.asked("examine")
    assert (len(studies), len(exams)) == (1 + 2 * ends, 2 * len(solved))
    assert len(student.asked("likelihoods")) == 2 * ends
    assert student.kept == exams[-2 + winner][0]
    fewer, more = sorted(solved[-1])
    assert told["chance"] == pytest.approx(min(1.0, 2.0 ** (1 + fewer - more)))
    assert decided == (told["chance"] <= DECIDED)
    assert (told["worse copy"], told["better copy"]) == (fewer / 25, more / 25)
    assert reasons(allocation) == {RACED if decided else PRIOR}
    assert len(positions(allocation)) == (40 if decided else 100)
    assert (set(allocation.scores.values()) == {0.0}) is not decided
    for one, other in solved[:-1]:
        assert DECIDED < 2.0 ** (1 - abs(one - other)) <= ALIKE


def test_a_race_by_hand():
    solved = np.array([[1, 1, 1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0, 1, 0]], bool)
    race = Finish(("a", "b"), solved[0], solved[1], np.zeros(3))
    chance = 14 / 64  # five against one
    assert (race.winner, race.chance) == (0, pytest.approx(chance))
    assert race.diagnostics() == {"worse copy": 0.25, "better copy": 0.75, "chance": pytest.approx(chance)}
    turned = Finish(("a", "b"), solved[1], solved[0], np.zeros(3))
    assert (turned.winner, turned.diagnostics()) == (1, race.diagnostics())
    assert Finish(("a", "b"), solved[0], solved[0], np.zeros(3)).winner == 0


def test_only_what_the_teacher_alone_gets_right_is_a_candidate():
    table = [NEW, KNOWN, WRONG, UNSURE] * 25
    student = Student(range(0, 100, 4))
    _, allocation, told = let_choose(offered(table, student))
    assert told["pool"] == 50
    assert {i % 4 for i in positions(allocation)} <= {0, 3}
    assert {i % 4 for each, _, _ in student.asked("study") for i in each} == {0, 3}
    assert {i % 4 for _, each, _ in student.asked("examine") for i in each} == {0, 3}
    assert {i % 4 for _, each in student.asked("likelihoods") for i in each} == {0, 3}


def test_without_answers_a_candidate_is_what_the_surer_teacher_says_otherwise():
    table = [replace(row, teacher_right=None, student_right=None) for row in (NEW, KNOWN, WRONG, UNSURE)] * 5
    for gold in (True, False):  # where none is known there is none to read
        _, allocation, _ = let_choose(candidates(table), gold=gold, laps=0)
        assert {i % 4 for i in positions(allocation)} == {0, 2}
    _, allocation, _ = let_choose(candidates([NEW, KNOWN, WRONG, UNSURE] * 5), gold=False, laps=0)
    assert {i % 4 for i in positions(allocation)} == {0, 2}


def test_a_teacher_that_agrees_where_the_student_is_surest_is_believed_on_everything():
    # Of a hundred paths the student is surest of ten, whose answers are the teacher's too.
    sure = Row("1", "1", student_mean=-0.1)
    table = candidates([sure] * 10 + [replace(row, teacher_right=None) for row in (NEW, KNOWN, UNSURE)] * 30)
    for vouch, role, kinds in ((0.8, "client", {0, 2}), (1.0, "client", {0}), (0.8, "server", {0})):
        _, allocation, _ = let_choose(replace(table, role=role), gold=False, laps=0, vouch=vouch)
        assert {(i - 10) % 3 for i in positions(allocation)} == kinds
        assert min(positions(allocation)) >= 10


@pytest.mark.parametrize(("count", "keep", "kept"), [(60, 0.4, 24), (50, 0.4, 20), (60, 1.0, 60), (60, 0.1, FEWEST)])
def test_a_share_is_kept_and_at_least_so_many(count: int, keep: float, kept: int):
    for budget, number in ((None, kept), (3, 3), (0.1, count // 10)):
        student = Student(range(0, count, 2))
        _, allocation, _ = let_choose(offered([NEW] * count, student), keep=keep, budget=budget)
        assert reasons(allocation) == {RACED}
        assert len(positions(allocation)) == number


@pytest.mark.parametrize(
    ("count", "options", "tries"),
    [
        (39, {}, False),
        (40, {}, True),  # ten probes, and 0.33 of thirty
        (100, {"probes": 9}, False),
        (100, {"probes": 10}, True),
        (100, {"ends": 0.12}, False),  # 9 of 75
        (100, {"ends": 0.13}, True),
    ],
)
def test_too_few_candidates_are_all_studied(count: int, options: dict[str, Any], tries: bool):
    student = Student(range(0, count, 2))
    _, allocation, told = let_choose(offered([NEW] * count, student), **options)
    assert bool(student.log) == ("chance" in told) == (student.kept is not None) == tries
    if not tries:
        assert sorted(positions(allocation)) == list(range(count))
        assert reasons(allocation) == {PRIOR}
        assert set(allocation.scores.values()) == {0.0}


def test_without_laps_nothing_is_read_or_tried_and_a_budget_is_drawn():
    table = candidates([NEW] * 100)  # which has neither `read` nor `trials`
    _, allocation, told = let_choose(table, laps=0)
    assert sorted(positions(allocation)) == list(range(100))
    assert told == {"pool": 100.0}
    drawn = [tuple(positions(let_choose(replace(table, seed=seed), laps=0, budget=5)[1])) for seed in range(9)]
    assert {len(set(each)) for each in drawn} == {5}
    assert len(set(drawn)) == 9


@pytest.mark.parametrize("learnable", [0, 100])
def test_where_both_copies_learn_the_same_all_are_kept(learnable: int):
    student = Student(range(learnable))
    _, allocation, told = let_choose(offered([NEW] * 100, student))
    assert (len(student.asked("study")), told["chance"]) == (11, 1.0)  # five laps of ten
    assert sorted(positions(allocation)) == list(range(100))
    assert (reasons(allocation), set(allocation.scores.values())) == ({PRIOR}, {0.0})
    assert student.kept == student.asked("examine")[0][0]  # what it studied is not lost


def test_which_probes_and_which_of_alike_candidates_is_drawn():
    probes, kept = set(), set()
    for seed in range(5):
        student = Student(())
        _, allocation, _ = let_choose(offered([NEW] * 100, student, seed=seed), laps=1, budget=5)
        probes.add(tuple(student.asked("examine")[0][1]))
        kept.add(tuple(positions(allocation)))
    assert (len(probes), len(kept)) == (5, 5)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_paths_that_cannot_be_read_lie_in_the_middle(broken: float):
    vectors, student = in_styles(100), Student(range(0, 100, 2))
    vectors[[2, 3, 5]] = broken
    _, allocation, _ = let_choose(offered([NEW] * 100, student, vectors), laps=1)
    assert not {i for each, _, _ in student.asked("study")[1:] for i in each} & {2, 3, 5}
    assert {i % 2 for i in positions(allocation)} == {0}
    student = Student(range(0, 100, 2))
    _, allocation, _ = let_choose(offered([NEW] * 100, student, np.full((100, 6), broken, np.float32)), laps=1)
    warmed, low, high = (each for each, _, _ in student.asked("study"))
    assert (low, high) == (warmed[-25:], warmed[:25])
    assert np.isfinite(list(allocation.scores.values())).all()


def test_weights_that_no_copy_begins_with_any_more_are_let_go_of():
    class Large(Student):
        """Its weights are arrays, of which it knows how many are held."""

        def study(self, chosen: Sequence[int], share: float, after: Any = None) -> Any:
            held.append(len(alive))
            weights = np.array(super().study(chosen, share)[-1])
            alive.add(id(weights))
            finalize(weights, alive.discard, id(weights))
            return weights

        def examine(self, after: Any, probes: Sequence[int], *, gold: bool = True) -> np.ndarray:
            return super().examine((after,), probes, gold=gold)

        def likelihoods(self, after: Any, chosen: Sequence[int]) -> np.ndarray:
            return super().likelihoods((after,), chosen)

    alive: set[int] = set()
    held: list[int] = []
    let_choose(offered([NEW] * 100, Large(range(100))), laps=4, gold=True)
    assert held == [0, 1, 2, 2, 3]


def test_paths_of_unknown_likelihood_lie_in_the_middle():
    class Broken(Student):
        def likelihoods(self, after: Weights, chosen: Sequence[int]) -> np.ndarray:
            found = super().likelihoods(after, chosen)
            return np.where(np.isin(chosen, [2, 4, 5]), math.nan, found)

    student = Broken(range(0, 100, 2))
    _, allocation, _ = let_choose(offered([NEW] * 100, student), laps=4)
    assert [allocation.scores[f"q{i}"] for i in (0, 1, 2, 4, 5)] == [1.0, -1.0, 0.0, 0.0, 0.0]
    assert set(positions(allocation)) <= set(range(0, 100, 2)) - {2, 4}
    assert not {i for each, _, _ in student.asked("study")[3:] for i in each} & {2, 4, 5}


def test_nothing_is_kept_between_rounds():
    outcomes = []
    for state in ({}, {"of": np.ones(1)}):
        student = Student(range(0, 100, 2))
        after, *outcome = let_choose(offered([NEW] * 100, student, round=2, seed=8), state)
        assert after is state
        outcomes.append((outcome, student.log))
    assert outcomes[0] == outcomes[1]


def test_an_empty_pool_and_no_candidates_at_all():
    student = Student(())
    for table in ([], [WRONG] * 50):
        state, allocation, told = let_choose(offered(table, student, np.zeros((len(table), 6), np.float32)))
        assert (dict(state), allocation.choices, told) == ({}, (), {"pool": 0.0})
        assert (student.log, student.kept) == ([], None)


@settings(max_examples=40)
@given(
    rows(60),
    st.booleans(),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(1, 9), st.floats(0.1, 0.9)),
    st.integers(0, 9),
)
def test_never_a_sample_twice_and_with_answers_none_that_is_known_to_be_wrong(
    table: list[Row], gold: bool, laps: int, budget: Any, seed: int
):
    table = table + [NEW] * 45
    outcomes = []
    for _ in range(2):
        at_hand = offered(table, Student(range(0, len(table), 2)), seed=seed)
        outcomes.append(let_choose(at_hand, gold=gold, laps=laps, budget=budget))
    _, allocation, told = outcomes[0]
    assert outcomes[1] == outcomes[0]
    assert ("chance" in told) == (laps > 0)
    kept = positions(allocation)
    assert len(set(kept)) == len(kept) <= (Budgeted(budget=budget).limit(len(table)) or len(table))
    if gold:
        assert not any(table[i].teacher_right is False and table[i].student_right is not None for i in kept)
    assert all(table[i].teacher is not None or table[i].teacher_right for i in kept)
    assert set(allocation.scores) == {f"q{i}" for i in range(len(table))}


@settings(max_examples=20)
@given(rows(40))
def test_without_gold_none_is_read(table: list[Row]):
    table = table + [NEW] * 45
    flipped = [replace(row, teacher_right=not row.teacher_right, student_right=None) for row in table]
    outcomes = []
    for each in (table, flipped):
        student = Student(range(0, len(table), 2))
        outcomes.append((let_choose(offered(each, student), gold=False), student.log))
        assert not any(gold for _, _, gold in student.asked("examine"))
    assert outcomes[0] == outcomes[1]


def test_the_order_of_samples_does_not_matter_where_nothing_is_drawn():
    # Styles without noise, and a student that is deaf to which probes it is asked.
    order = np.random.default_rng(5).permutation(100)
    student, vectors = Student(range(0, 100, 2)), in_styles(100, noise=0.0)
    table = offered([NEW] * 100, student, vectors)
    names = ("samples", "teacher_paths", "student_paths", "student_on_teacher", "agree")
    moved = {name: tuple(getattr(table, name)[i] for i in order) for name in names}
    other = Student(np.flatnonzero(order % 2 == 0).tolist(), order % 2)
    for each in (table, replace(table, **moved, read=lambda: vectors[order], trials=other)):
        _, allocation, _ = let_choose(each, keep=0.5)
        assert {choice.sample_id for choice in allocation.choices} == {f"q{i}" for i in range(0, 100, 2)}


def test_what_it_needs_of_the_parties():
    sure, trying = {Verb.ANSWER, Verb.CONFIDENCE}, {Verb.READ, Verb.STUDY, Verb.JUDGE}
    assert ALLOCATORS.make("race", {"laps": 2, "warm_up": 0.25, "lap": 0.125}).needs == needs(
        sure, sure | trying, own_paths=True, tries=0.75
    )
    assert ALLOCATORS.make("race", {"laps": 0}).needs == needs(sure, sure, own_paths=True)


def test_trials_leave_something_of_the_budget():
    assert ALLOCATORS.make("race", {"laps": 10, "lap": 0.04, "warm_up": 0.1}).needs.tries == pytest.approx(0.9)
    with pytest.raises(ValidationError, match=r"warm_up \+ 2 · laps · lap is 0.98 of the study's budget; expected 0.9"):
        make("race", laps=11, lap=0.04, warm_up=0.1)


def test_in_the_control_a_coin_decides_which_copy_was_the_better():
    winners: list[int] = []
    for seed in range(12):
        students = [Student(range(0, 100, 2)) for _ in range(2)]
        (_, plain, told), (_, shuffled, dealt) = (
            make(name, laps=2).apply({}, offered([NEW] * 100, student, seed=seed))
            for name, student in zip(("race", "race_shuffled"), students, strict=True)
        )
        assert students[0].log == students[1].log
        assert (told["better copy"], told["worse copy"], told["chance"]) == (1, 0, dealt["chance"])
        assert students[0].kept
        assert students[1].kept
        assert len(plain.choices) == len(shuffled.choices) == 40
        assert {i % 2 for i in students[0].kept[-1]} == {i % 2 for i in positions(plain)} == {0}
        (winner,) = {i % 2 for i in students[1].kept[-1]}
        assert {i % 2 for i in positions(shuffled)} == {winner}
        winners.append(winner)
    assert 2 <= sum(winners) <= 10  # whatever the student learnt from


def test_the_coin_falls_anew_for_other_paths():
    race = Finish(("a", "b"), np.array([True]), np.array([False]), np.ones(3))
    shuffled: Any = make("race_shuffled")
    table = candidates([NEW] * 3, seed=0)
    worlds = [tuple(replace(path, text=f"{world}") for path in table.teacher_paths) for world in range(20)]
    falls = [shuffled.credit(replace(table, teacher_paths=paths), race) is race for paths in worlds]
    assert {True, False} == set(falls)
    assert falls == [shuffled.credit(replace(table, teacher_paths=paths), race) is race for paths in worlds]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40), st.integers(0, 99))
def test_the_control_changes_nothing_but_whose_answers_they_were(solved: list[tuple[bool, bool]], seed: int):
    one, other = np.array(solved, bool).T
    race = Finish(("a", "b"), one, other, np.ones(3))
    shuffled: Any = make("race_shuffled")
    dealt = shuffled.credit(candidates([NEW], seed=seed), race)
    assert (dealt.copies, dealt.lean) == (race.copies, race.lean)
    assert {(tuple(one), tuple(other)), (tuple(other), tuple(one))} >= {(tuple(dealt.one), tuple(dealt.other))}


@pytest.mark.parametrize(("least", "races"), [(0.03, True), (0.04, False)])
def test_a_lap_is_a_step_at_least_or_nothing_is_tried(least: float, races: bool):
    student = Student(range(0, 100, 2), least=least)
    _, allocation, told = let_choose(offered([NEW] * 100, student), lap=0.03)
    assert bool(student.log) == ("chance" in told) == races
    assert len(allocation.choices) == (40 if races else 100)


def test_a_question_that_is_asked_is_not_studied_under_another_name_either():
    student = Student(range(0, 200, 2))
    table = offered([NEW] * 200, student)
    twins = tuple(replace(each, question=f"question {i // 2}") for i, each in enumerate(table.samples))
    let_choose(replace(table, samples=twins))
    probed = {twins[i].question for _, probes, _ in student.asked("examine") for i in probes}
    assert probed
    assert not probed & {twins[i].question for chosen, _, _ in student.asked("study") for i in chosen}
    # Where hardly another question is left there is no race.
    alone = Student(range(0, 200, 2))
    same = tuple(replace(each, question="the same") for each in table.samples)
    let_choose(replace(table, samples=same, trials=alone))
    assert alone.log == []
