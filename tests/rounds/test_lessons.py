from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from actors import make
from hypothesis import given
from hypothesis import strategies as st

from lada.core.terms import Allocation, Lesson, Likelihood, Path, Sample, Selection, Source
from lada.models.objective import lesson_on
from lada.objectives.base import OBJECTIVES
from lada.objectives.contrastive import ContrastiveOptions
from lada.objectives.preference import make_lesson
from lada.rounds.lessons import ReplaySource, make_lessons, with_replay

SAMPLE = Sample("s", "why?")


def path(text: str, right: bool | None = None) -> Path:
    return Path("s", "somebody", text, None, right, Likelihood(-1, -1, 1, 1))


def lesson(prefer: Any, unpaired: Any, chosen: Path, other: Path) -> Any:
    made = make_lesson(SAMPLE, chosen, other, prefer, unpaired)
    if made is None:
        return None
    assert (made.sample_id, made.question, made.weight) == ("s", "why?", 1.0)
    return (made.chosen, made.rejected)


def test_a_lesson_knows_which_of_its_texts_were_cut():
    cut = replace(path("c", False), cut=True)
    made = make_lesson(SAMPLE, cut, path("o", True), "verified", "nll")
    assert made == Lesson("s", "why?", "o", "c", rejected_cut=True)
    assert make_lesson(SAMPLE, cut, path("c"), "role", "nll") == Lesson("s", "why?", "c", chosen_cut=True)
    assert lesson_on(SAMPLE, cut) == Lesson("s", "why?", "c", chosen_cut=True)


ALONE, PAIR, TURNED = ("c", None), ("c", "o"), ("o", "c")
FLAGS = (True, False, None)


@pytest.mark.parametrize("chosen", FLAGS)
@pytest.mark.parametrize("other", FLAGS)
@pytest.mark.parametrize("unpaired", ["nll", "skip"])
def test_by_role_the_chosen_path_stands_against_the_other(chosen: bool | None, other: bool | None, unpaired: str):
    assert lesson("role", unpaired, path("c", chosen), path("o", other)) == PAIR


@pytest.mark.parametrize(
    ("chosen", "other", "nll", "skip"),
    [
        (True, True, ALONE, None),
        (True, False, PAIR, PAIR),
        (True, None, ALONE, None),
        (False, True, TURNED, TURNED),
        (False, False, None, None),
        (False, None, None, None),
        (None, True, ALONE, None),
        (None, False, ALONE, None),
        (None, None, ALONE, None),
    ],
)
def test_by_verified_answer_the_right_path_stands_against_the_wrong_one(
    chosen: bool | None, other: bool | None, nll: Any, skip: Any
):
    assert lesson("verified", "nll", path("c", chosen), path("o", other)) == nll
    assert lesson("verified", "skip", path("c", chosen), path("o", other)) == skip


@pytest.mark.parametrize("prefer", ["role", "verified"])
@pytest.mark.parametrize("other", ["c", ""])
def test_a_path_has_no_contrast_with_itself_or_with_nothing(prefer: str, other: str):
    assert lesson(prefer, "nll", path("c", True), path(other, False)) == ALONE
    assert lesson(prefer, "skip", path("c", True), path(other, False)) is None


def lessons_of(choices: dict[str, Source], objective: str, **options: Any) -> list[Lesson]:
    samples = {id: Sample(id, f"{id}?") for id in ("x", "y", "z")}
    teacher = {"x": path("teacher x", True), "y": path("teacher y", False), "z": path("", None)}
    student = {"x": path("student x", False), "y": path("student y", True), "z": path("student z", None)}
    allocation = Allocation("t", "s", 1, tuple(Selection(id, source, 1.0, "") for id, source in choices.items()))
    return make_lessons(allocation, samples, teacher, student, make(OBJECTIVES, objective, **options))


def test_an_objective_without_contrast_takes_the_chosen_path_as_it_is():
    assert lessons_of({"y": "teacher", "x": "student"}, "sft") == [
        Lesson("y", "y?", "teacher y"),
        Lesson("x", "x?", "student x"),
    ]


def test_a_contrast_follows_the_objectives_options():
    choices: dict[str, Source] = {"x": "teacher", "y": "teacher"}
    assert lessons_of(choices, "contrastive", prefer="role") == [
        Lesson("x", "x?", "teacher x", "student x"),
        Lesson("y", "y?", "teacher y", "student y"),
    ]
    assert lessons_of(choices, "contrastive", prefer="verified") == [
        Lesson("x", "x?", "teacher x", "student x"),
        Lesson("y", "y?", "student y", "teacher y"),
    ]
    own: dict[str, Source] = {"x": "student", "z": "student"}
    assert lessons_of(own, "contrastive", prefer="role") == [
        Lesson("x", "x?", "student x", "teacher x"),
        Lesson("z", "z?", "student z"),
    ]
    assert lessons_of(own, "contrastive", prefer="role", unpaired="skip") == [
        Lesson("x", "x?", "student x", "teacher x"),
    ]


@pytest.mark.parametrize("objective", ["sft", "contrastive"])
def test_an_empty_path_teaches_nothing(objective: str):
    assert lessons_of({"z": "teacher"}, objective) == []


def named(prefix: str, count: int) -> list[Lesson]:
    return [Lesson(f"{prefix}{i}", "?", "!") for i in range(count)]


def prefixes(lessons: list[Lesson]) -> str:
    return "".join(lesson.sample_id[0] for lesson in lessons)


def test_replay_makes_up_its_shares_of_all():
    # 7 new lessons are what 0.2 and 0.1 leave of 10: 2 and 1 are replayed.
    pools = [ReplaySource(named("a", 50), 0.2), ReplaySource(named("b", 50), 0.1)]
    everything, replayed = with_replay(named("n", 7), pools, np.random.default_rng(0))
    assert (prefixes(everything), replayed) == ("nnnnnnnaab", 3)
    assert everything[:7] == named("n", 7)


def test_replay_takes_what_there_is():
    pools = [ReplaySource(named("a", 1), 0.5), ReplaySource([], 0.1), ReplaySource(named("b", 9), 0.0)]
    everything, replayed = with_replay(named("n", 4), pools, np.random.default_rng(0))
    assert (prefixes(everything), replayed) == ("nnnna", 1)
    assert with_replay([], [ReplaySource(named("a", 9), 0.5)], np.random.default_rng(0)) == ([], 0)
    assert with_replay(named("n", 2), [], np.random.default_rng(0)) == (named("n", 2), 0)


def test_replay_fills_a_study_up_to_the_least_number_of_lessons():
    pools = [ReplaySource(named("a", 50), 0.2), ReplaySource(named("b", 2), 0.2)]
    rng = np.random.default_rng(0)
    # 2 of 10 lessons are new: 8 are replayed, of each pool 4; of b there are only 2.
    everything, replayed = with_replay(named("n", 2), pools, rng, least=10)
    assert (prefixes(everything), replayed) == ("nnaaaabb", 6)
    # 0.4 of 20 is what 12 new ones leave anyway.
    assert prefixes(with_replay(named("n", 12), pools, rng, least=10)[0]) == 12 * "n" + "aaaabb"
    assert with_replay([], pools, rng, least=10) == ([], 0)
    assert with_replay(named("n", 2), [ReplaySource(named("a", 9), 0.0)], rng, least=10) == (named("n", 2), 0)


def test_where_nothing_is_new_pools_with_a_share_may_be_replayed_alone():
    pools = [ReplaySource(named("a", 3), 0.5), ReplaySource(named("b", 9), 0.0), ReplaySource(named("c", 2), 0.1)]
    rng = np.random.default_rng(0)
    assert with_replay([], pools, rng, alone=True) == ([*named("a", 3), *named("c", 2)], 5)
    assert with_replay([], pools[1:2], rng, alone=True) == ([], 0)
    assert prefixes(with_replay(named("n", 4), pools, rng, alone=True)[0]) == "nnnnaaac"  # 0.4 of 10


@given(st.integers(0, 30), st.integers(0, 30), st.floats(0, 0.8), st.integers(0, 9))
def test_replay_never_repeats_itself(count: int, size: int, share: float, seed: int):
    pools = [ReplaySource(named("a", size), share)]
    draws = [with_replay(named("n", count), pools, np.random.default_rng(seed)) for _ in range(2)]
    assert draws[0] == draws[1]
    everything, replayed = draws[0]
    assert len(everything) == count + replayed
    assert len({lesson.sample_id for lesson in everything}) == len(everything)
    assert replayed == min(size, round(count / (1 - share) * share))


def test_without_weight_the_preference_still_picks_the_path_but_nothing_is_contrasted():
    objective = OBJECTIVES.get("contrastive").make(ContrastiveOptions(weight=0.0))
    assert not objective.needs.rejected
    sample = Sample("a", "a ?", "1")
    teacher = Path("a", "llm", "answer 2", "2", False, Likelihood(-1.0, -1.0, 2, 8))
    student = Path("a", "slm", "answer 1", "1", True, Likelihood(-1.0, -1.0, 2, 8))
    allocation = Allocation("llm", "slm", 1, (Selection("a", "teacher", 1.0, ""),))
    (lesson,) = make_lessons(allocation, {"a": sample}, {"a": teacher}, {"a": student}, objective)
    assert lesson.chosen == "answer 1"
