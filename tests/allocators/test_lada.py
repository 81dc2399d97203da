"""LaDa's filter, with a made student: it solves a probe after studying enough of what is written in its style."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import chi2
from tables import Row, candidates, chosen, make, rows

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.exploit import components, ridge
from lada.allocators.lada import ENOUGH, FEWEST, Tried, remembered
from lada.allocators.memory import keys_of
from lada.allocators.selection import Budgeted
from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.needs import needs
from lada.core.terms import Allocation, Verb

NEW = Row("1", "2", True, False, teacher_mean=-0.25)
"""The teacher alone is right, and the surer of the two."""
KNOWN, WRONG = Row("1", "1", True, True), Row("1", "2", False, False, teacher_mean=-0.25)
UNSURE = Row("1", "2", True, False, teacher_mean=-0.75)
"""The same, but the teacher is the less sure."""
PRIOR, TRIED = "the teacher is right, the student is not", "like what the student learnt from on trial"


@dataclass
class Student:
    """Solves the share of the probes that it has studied of lessons it can learn from, of all that it studied."""

    learnable: Sequence[int]
    log: list[tuple[Any, ...]] = field(default_factory=list)
    """Its studies in their order: what, for which share, on which probes."""
    warm: float = 0.0

    def warm_up(self, chosen: Sequence[int], share: float) -> None:
        self.log.append(("warm up", list(chosen), share))

    def trial(self, chosen: Sequence[int], share: float, probes: Sequence[int], *, gold: bool = True) -> np.ndarray:
        self.log.append(("trial", list(chosen), share, list(probes), gold))
        share_learnt = np.isin(chosen, self.learnable).mean()
        return np.arange(len(probes)) < round(share_learnt * len(probes))

    @property
    def trials(self) -> list[tuple[Any, ...]]:
        return [entry for entry in self.log if entry[0] == "trial"]


def in_styles(count: int, styles: int = 2, noise: float = 0.1) -> np.ndarray:
    """Return vectors of paths [count, 6]: sample i is written in style i % styles."""
    rng = np.random.default_rng(0)
    centres = 3 * np.eye(6)[:styles]
    return (centres[np.arange(count) % styles] + noise * rng.normal(size=(count, 6))).astype(np.float32)


def offered(
    table: Sequence[Row], student: Student, vectors: np.ndarray | None = None, *, round: int = 1, seed: int = 7
) -> Candidates:
    read = in_styles(len(table)) if vectors is None else vectors
    return replace(candidates(table, round=round, seed=seed), read=lambda: read, trials=student)


def let_choose(
    table: Candidates, state: State | None = None, **options: Any
) -> tuple[State, Allocation, dict[str, float]]:
    filter = make("lada", **options)
    return filter.apply(filter.init(1) if state is None else state, table)


def positions(allocation: Allocation) -> list[int]:
    return [position for position, _ in chosen(allocation)]


def reasons(allocation: Allocation) -> set[str]:
    return {choice.reason for choice in allocation.choices}


def test_two_students_keep_what_each_learns_from():
    for style in (0, 1):
        learns = range(style, 100, 2)
        student = Student(learns)
        _, allocation, told = let_choose(offered([NEW] * 100, student), groups=2)
        kept = positions(allocation)
        assert len(kept) == 40  # 0.4 of 100
        assert set(kept) <= set(learns)
        assert reasons(allocation) == {TRIED}
        assert {source for _, source in chosen(allocation)} == {"teacher"}
        assert told.pop("chance") == pytest.approx(chi2.sf(2 * 0.25 / (0.25 / 25), 1))
        assert told == {"pool": 100.0, "trials": 2.0, "worst trial": 0.0, "best trial": 1.0}


def test_what_is_tried_and_on_which_probes():
    student = Student(range(0, 100, 2))
    table = offered([NEW] * 100, student)
    longer = (replace(each, question=each.question + " please" * (i >= 50)) for i, each in enumerate(table.samples))
    let_choose(replace(table, samples=tuple(longer)), groups=2, warm_up=0.2, trial=0.05)
    (first, warmed, share), *trials = student.log
    probes = trials[0][3]
    assert (first, share, len(probes)) == ("warm up", 0.2, 25)  # half of the half with the shortest questions
    assert max(probes) < 50
    assert sorted(warmed + probes) == list(range(100))
    assert [entry[2:] for entry in trials] == [(0.05, probes, True)] * 2
    assert sorted(trials[0][1] + trials[1][1]) == warmed
    assert [{i % 2 for i in entry[1]} for entry in trials] in ([{0}, {1}], [{1}, {0}])
    student = Student(())
    let_choose(offered([NEW] * 100, student), groups=2, warm_up=0.0, probes=12, gold=False)
    assert [entry[0] for entry in student.log] == ["trial"] * 2
    assert [(len(entry[3]), entry[4]) for entry in student.log] == [(12, False)] * 2


def test_scores_are_the_regression_of_rewards_on_components():
    student, vectors = Student(range(0, 100, 2)), in_styles(100)
    state, allocation, _ = let_choose(offered([NEW] * 100, student, vectors), groups=2, components=3)
    seen = components(vectors, np.arange(100), 3)
    tried = sorted(student.trials, key=lambda entry: entry[1][0] % 2)  # the group that is learnt from first
    members = [i for entry in tried for i in entry[1]]
    rewards = np.repeat([1.0, 0.0], [len(entry[1]) for entry in tried])
    expected = ridge(seen[members], rewards - rewards.mean())(seen)
    assert [allocation.scores[f"q{i}"] for i in range(100)] == pytest.approx(expected.tolist())
    best = sorted(range(100), key=lambda i: -expected[i])[:40]
    assert positions(allocation) == best
    assert [choice.score for choice in allocation.choices] == [allocation.scores[f"q{i}"] for i in best]
    by_key = dict(zip(state["history.keys"].tolist(), state["history.rewards"].tolist(), strict=True))
    keys = keys_of(candidates([NEW] * 100).samples).tolist()
    assert by_key == pytest.approx({keys[i]: r for i, r in zip(members, rewards - rewards.mean(), strict=True)})


def test_rewards_by_hand():
    # Two lessons after which half of the probes were solved, one after which all were: the mean is 2/3.
    tried = Tried([np.array([4, 2]), np.array([7])], [0.5, 1.0], 8)
    assert tried.members.tolist() == [4, 2, 7]
    assert tried.rewards.tolist() == pytest.approx([-1 / 6, -1 / 6, 1 / 3])
    # Shares of 3/4 on the whole, of a variance of 3/16/8 each: 2 (1/4)^2 / (3/128) = 16/3.
    chance = {"chance": pytest.approx(chi2.sf(16 / 3, 1))}
    assert tried.diagnostics() == {"trials": 2.0, "worst trial": 0.5, "best trial": 1.0, **chance}
    nothing = Tried([], [], 8)
    assert (nothing.members.tolist(), nothing.rewards.tolist(), nothing.diagnostics()) == ([], [], {})


def test_history_keeps_the_most_recent():
    history = (
        remembered({})
        .add(np.array([1, 2]), np.array([0.5, -0.5]), 0.125, 3)
        .add(np.array([2, 3]), np.array([1.0, 0.0]), 0.5, 3)
    )
    assert (history.keys.tolist(), history.rewards.tolist()) == ([2, 2, 3], [-0.5, 1.0, 0.0])
    assert {name: array.tolist() for name, array in history.state().items()} == {
        "history.keys": [2, 2, 3],
        "history.rewards": [-0.5, 1.0, 0.0],
        "history.chance": 0.125,
    }


def test_only_what_the_teacher_alone_gets_right_is_a_candidate():
    table = [NEW, KNOWN, WRONG, UNSURE] * 25
    student = Student(range(100))
    _, allocation, told = let_choose(offered(table, student, in_styles(100, 1)), groups=1)
    assert told["pool"] == 50
    assert {i % 4 for i in positions(allocation)} == {0, 3}
    assert {i % 4 for entry in student.log for i in entry[1]} == {0, 3}


def test_without_answers_a_candidate_is_what_the_surer_teacher_says_otherwise():
    table = [replace(row, teacher_right=None, student_right=None) for row in (NEW, KNOWN, WRONG, UNSURE)] * 5
    for gold in (True, False):  # where none is known there is none to read
        _, allocation, _ = let_choose(candidates(table), gold=gold, groups=0)
        assert {i % 4 for i in positions(allocation)} == {0, 2}
    _, allocation, _ = let_choose(candidates([NEW, KNOWN, WRONG, UNSURE] * 5), gold=False, groups=0)
    assert {i % 4 for i in positions(allocation)} == {0, 2}


@pytest.mark.parametrize(("count", "keep", "kept"), [(60, 0.4, 24), (50, 0.4, 20), (60, 0.1, FEWEST)])
def test_a_share_is_kept_and_at_least_so_many(count: int, keep: float, kept: int):
    student = Student(range(0, count, 2))
    _, allocation, _ = let_choose(offered([NEW] * count, student), groups=2, keep=keep)
    assert len(positions(allocation)) == kept
    _, allocation, _ = let_choose(offered([NEW] * count, student), groups=2, keep=keep, budget=3)
    assert len(positions(allocation)) == 3


@pytest.mark.parametrize(("count", "tries"), [(39, False), (40, True)])
def test_too_few_candidates_are_all_studied(count: int, tries: bool):
    student = Student(range(0, count, 2))
    state, allocation, told = let_choose(offered([NEW] * count, student), groups=2)
    assert bool(student.log) == bool(state) == ("trials" in told) == tries
    if not tries:
        assert sorted(positions(allocation)) == list(range(count))
        assert reasons(allocation) == {PRIOR}
        assert set(allocation.scores.values()) == {0.0}


def test_without_groups_nothing_is_read_or_tried_and_a_budget_is_drawn():
    table = candidates([NEW] * 100)  # which has neither `read` nor `trials`
    _, allocation, told = let_choose(table, groups=0)
    assert sorted(positions(allocation)) == list(range(100))
    assert told == {"pool": 100.0}
    drawn = [tuple(positions(let_choose(replace(table, seed=seed), groups=0, budget=5)[1])) for seed in range(9)]
    assert {len(set(each)) for each in drawn} == {5}
    assert len(set(drawn)) == 9


def test_groups_too_small_to_tell_anything_are_not_tried():
    # Four kinds of paths have five each, two have forty, of which a quarter are probes at most.
    vectors = np.repeat(np.eye(6, dtype=np.float32), [5, 5, 5, 5, 40, 40], axis=0)
    student = Student(range(60))
    _, _, told = let_choose(offered([NEW] * 100, student, vectors), groups=6, trial=0.1)
    kinds = [{(i - 20) // 40 for i in entry[1]} for entry in student.trials]
    assert kinds in ([{0}, {1}], [{1}, {0}])
    assert min(len(entry[1]) for entry in student.trials) >= FEWEST
    assert told["trials"] == 2


def test_where_no_group_is_large_enough_all_candidates_are_studied(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lada.allocators.lada.cluster", lambda rows, count, seed: np.arange(len(rows)))
    student = Student(range(100))
    state, allocation, told = let_choose(offered([NEW] * 100, student), groups=2)
    assert student.trials == []
    assert sorted(positions(allocation)) == list(range(100))
    assert (reasons(allocation), told) == ({PRIOR}, {"pool": 100.0})
    assert remembered(state).keys.tolist() == []


@pytest.mark.parametrize("learnable", [0, 100])
def test_where_all_groups_teach_the_same_all_are_kept_and_trials_end_early(learnable: int):
    student = Student(range(learnable))
    _, allocation, told = let_choose(offered([NEW] * 240, student, in_styles(240, 6)), groups=6)
    if not learnable:
        assert (len(student.trials), told["chance"]) == (ENOUGH, 1.0)
        assert set(allocation.scores.values()) == {0.0}
    assert sorted(positions(allocation)) == list(range(240))
    assert reasons(allocation) == {PRIOR}


def test_trials_that_differ_by_chance_prefer_nothing():
    # Of 25 probes 12 and 8 are solved: (4/25)^2 / 2 / (0.4 * 0.6 / 25) = 4/3, which is no rare thing.
    tried = Tried([np.arange(40), np.arange(40, 75)], [12 / 25, 8 / 25], 25)
    assert tried.chance == pytest.approx(chi2.sf(4 / 3, 1))
    assert 0.2 < tried.chance < 0.3


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_paths_that_cannot_be_read_are_as_good_as_the_mean(broken: float):
    vectors, student = in_styles(100), Student(range(0, 100, 2))
    vectors[[2, 3, 5]] = broken
    _, allocation, _ = let_choose(offered([NEW] * 100, student, vectors), groups=2)
    assert np.isfinite(list(allocation.scores.values())).all()
    assert not set(positions(allocation)) & {3, 5}
    _, allocation, _ = let_choose(offered([NEW] * 100, student, np.full((100, 6), broken, np.float32)), groups=2)
    assert sorted(positions(allocation)) == list(range(100))
    assert list(allocation.scores.values()) == pytest.approx([0.0] * 100, abs=1e-12)


def test_a_later_round_goes_on_from_what_was_tried_before():
    student = Student(range(0, 100, 2))
    state, _, _ = let_choose(offered([NEW] * 100, student), groups=2)
    # In the next round the student is deaf, and all trials come out alike: what it knows is from the one before.
    deaf = Student(())
    later, allocation, _ = let_choose(offered([NEW] * 100, deaf, round=2, seed=8), state, groups=2)
    assert len(later["history.keys"]) == 2 * 75
    assert all(i % 2 == 0 for i in positions(allocation))
    forgotten, _, _ = let_choose(offered([NEW] * 100, deaf, round=2, seed=8), state, groups=2, replay=75)
    assert forgotten["history.rewards"].tolist() == [0.0] * 75


def test_samples_come_and_go_between_rounds():
    student = Student(range(0, 120, 2))
    whole = offered([NEW] * 120, student, in_styles(120))

    def part(places: Sequence[int], **more: Any) -> Candidates:
        names = ("samples", "teacher_paths", "student_paths", "student_on_teacher", "agree")
        kept = {name: tuple(getattr(whole, name)[i] for i in places) for name in names}
        vectors, local = in_styles(120)[list(places)], Student([i for i, p in enumerate(places) if p % 2 == 0])
        return replace(whole, **kept, read=lambda: vectors, trials=local, **more)

    state, first, _ = let_choose(part(range(60)), groups=2)
    state, second, _ = let_choose(part(range(40, 120), round=2), state, groups=2)
    for allocation in (first, second):
        assert all(int(choice.sample_id[1:]) % 2 == 0 for choice in allocation.choices)
    assert all(int(choice.sample_id[1:]) >= 40 for choice in second.choices)
    # Nothing of what was tried is at hand any more, and what is there is too little to try: all of it is studied.
    _, last, _ = let_choose(part(range(30, 40), round=3), state, groups=2)
    assert (len(last.choices), reasons(last)) == (10, {PRIOR})


def test_an_empty_pool_and_no_candidates_at_all():
    student = Student(())
    for table in ([], [WRONG] * 50):
        state, allocation, told = let_choose(offered(table, student, np.zeros((len(table), 6), np.float32)), groups=1)
        assert (dict(state), allocation.choices, told, student.log) == ({}, (), {"pool": 0.0}, [])


def test_a_state_survives_being_stored():
    student = Student(range(0, 100, 2))
    state, _, _ = let_choose(offered([NEW] * 100, student), groups=2)
    kept = bytes_to_arrays(arrays_to_bytes(state))
    after = [let_choose(offered([NEW] * 100, student, round=2), each, groups=2) for each in (state, kept)]
    assert after[0][1:] == after[1][1:]
    assert all(np.array_equal(after[0][0][name], after[1][0][name]) for name in after[0][0])


@settings(max_examples=40)
@given(
    rows(60),
    st.booleans(),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(1, 9), st.floats(0.1, 0.9)),
    st.integers(0, 9),
)
def test_never_a_sample_twice_and_with_answers_none_that_is_known_to_be_wrong(
    table: list[Row], gold: bool, groups: int, budget: Any, seed: int
):
    table = table + [NEW] * 30
    at_hand = offered(table, Student(range(0, len(table), 3)), seed=seed)
    _, allocation, _ = let_choose(at_hand, gold=gold, groups=groups, budget=budget)
    kept = positions(allocation)
    assert len(set(kept)) == len(kept) <= (Budgeted(budget=budget).limit(len(table)) or len(table))
    if gold:
        assert not any(table[i].teacher_right is False and table[i].student_right is not None for i in kept)
    assert set(allocation.scores) == {f"q{i}" for i in range(len(table))}
    again = let_choose(
        offered(table, Student(range(0, len(table), 3)), seed=seed), gold=gold, groups=groups, budget=budget
    )
    assert again[1] == allocation


@settings(max_examples=20)
@given(rows(40))
def test_without_gold_none_is_read(table: list[Row]):
    table = table + [NEW] * 30
    flipped = [replace(row, teacher_right=not row.teacher_right, student_right=None) for row in table]
    learns = range(0, len(table), 3)
    outcomes = [let_choose(offered(each, Student(learns)), gold=False, groups=1)[1:] for each in (table, flipped)]
    assert outcomes[0] == outcomes[1]


def test_the_order_of_samples_does_not_matter_where_nothing_is_drawn():
    # Styles without noise and of unlike worth; a student that is deaf to which probes it is asked.
    order = np.random.default_rng(5).permutation(100).tolist()
    student, vectors = Student(range(0, 100, 2)), in_styles(100, noise=0.0)
    table = offered([NEW] * 100, student, vectors)
    names = ("samples", "teacher_paths", "student_paths", "student_on_teacher", "agree")
    moved = {name: tuple(getattr(table, name)[i] for i in order) for name in names}
    other = Student([place for place, i in enumerate(order) if i % 2 == 0])
    shuffled = replace(table, **moved, read=lambda: vectors[order], trials=other)
    for each in (table, shuffled):
        _, allocation, _ = let_choose(each, groups=2, keep=0.5)
        assert {choice.sample_id for choice in allocation.choices} == {f"q{i}" for i in range(0, 100, 2)}


def test_what_it_needs_of_the_parties():
    sure, trying = {Verb.ANSWER, Verb.CONFIDENCE}, {Verb.READ, Verb.STUDY}
    assert ALLOCATORS.make("lada", {"groups": 4, "warm_up": 0.25, "trial": 0.125}).needs == needs(
        sure, sure | trying, own_paths=True, tries=0.75
    )
    assert ALLOCATORS.make("lada", {"groups": 0}).needs == needs(sure, sure, own_paths=True)


def test_trials_leave_something_of_the_budget():
    assert ALLOCATORS.make("lada", {"groups": 10, "trial": 0.08, "warm_up": 0.1}).needs.tries == pytest.approx(0.9)
    with pytest.raises(ValidationError, match=r"warm_up \+ groups · trial is 0.98 of the study's budget; expected 0.9"):
        make("lada", groups=11, trial=0.08, warm_up=0.1)


def test_the_control_deals_rewards_out_anew():
    best: set[int] = set()
    for seed in range(8):
        outcomes = [
            make(name, groups=3).apply(
                {}, offered([NEW] * 120, Student(range(0, 120, 3)), in_styles(120, 3), seed=seed)
            )
            for name in ("lada", "lada_shuffled")
        ]
        (learnt, plain, told), (dealt, shuffled, told_too) = outcomes
        assert told == told_too
        assert learnt["history.keys"].tolist() == dealt["history.keys"].tolist()
        assert {i % 3 for i in positions(plain)[:20]} == {0}
        best |= {i % 3 for i in positions(shuffled)[:20]}
    assert best == {0, 1, 2}  # whatever the student learnt from
