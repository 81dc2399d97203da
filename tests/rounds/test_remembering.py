"""Paths of earlier rounds as further paths of a question: the newest come first, and no text is there twice."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import federation, make, make_party, right, wrong

from lada.core.terms import Alternative, Lesson
from lada.objectives.base import OBJECTIVES
from lada.rounds.party import Party
from lada.rounds.remembering import with_alternatives

NO_REPLAY = {
    f"{side}_replay": {"private": 0.0, "paths": 0.0, "general": 0.0, "least": 0} for side in ("client", "server")
}


def student(folder: FilePath, paths: int) -> Party:
    return make_party("a", set(), folder, objective=make(OBJECTIVES, "path_alignment", paths=paths))


def lesson(chosen: str, rejected: str | None, *teacher: float | None) -> Lesson:
    one, other = teacher or (None, None)
    return Lesson("p0", "public 0", chosen, rejected, teacher_chosen=one, teacher_rejected=other)


def told(party: Party, each: Lesson, teacher: str = "llm") -> tuple[Alternative, ...]:
    (found,) = with_alternatives(party, [each], teacher)
    return found.alternatives


def test_the_newest_come_first_and_no_text_is_there_twice(tmp_path: FilePath):
    party = student(tmp_path, 5)
    assert told(party, lesson("a", "b", -1.0, -2.0)) == ()
    assert told(party, lesson("c", "d", -3.0, -4.0)) == (("a", -1.0), ("b", -2.0))
    assert told(party, lesson("e", "a", -5.0, -6.0)) == (("c", -3.0), ("d", -4.0), ("b", -2.0))
    # The teacher's newest log-prob of a text counts.
    assert told(party, lesson("f", "g", -7.0, -8.0)) == (("e", -5.0), ("a", -6.0), ("c", -3.0))
    assert told(party, lesson("d", "g", -7.0, -8.0)) == (("f", -7.0), ("e", -5.0), ("a", -6.0))


def test_pairs_without_a_teachers_view_have_none_and_leave_none(tmp_path: FilePath):
    party = student(tmp_path, 4)
    told(party, lesson("a", "b", -1.0, -2.0))
    for each in (lesson("c", None), lesson("c", "d"), lesson("c", "d", -1.0, None), lesson("c", "d", None, -1.0)):
        assert told(party, each) == ()
    assert told(party, lesson("x", "y", -1.0, -1.0)) == (("a", -1.0), ("b", -2.0))


def test_each_teacher_has_its_own(tmp_path: FilePath):
    party = student(tmp_path, 4)
    told(party, lesson("a", "b", -1.0, -2.0), "b")
    assert told(party, lesson("c", "d", -3.0, -4.0), "c") == ()


def test_two_paths_need_no_memory(tmp_path: FilePath):
    party = student(tmp_path, 2)
    told(party, lesson("a", "b", -1.0, -2.0))
    assert told(party, lesson("c", "d", -3.0, -4.0)) == ()
    assert not party.memory


@pytest.mark.parametrize("paths", [2, 3, 4])
def test_over_two_rounds_a_client_compares_up_to_so_many(tmp_path: FilePath, paths: int):
    objective = make(OBJECTIVES, "path_alignment", paths=paths, prefer="role")
    knows, host = {"llm": {0}, "a": {1}, "b": {2}}, {**NO_REPLAY, "directions": "llm_to_slm"}
    both = federation(tmp_path, "fedmkt", knows, host, objective=objective, allocator="all")
    both.run(1)
    learner: Any = both.clients["a"].learner
    learner.answers["public 0"] = "so answer other0"  # it has changed its mind
    both.run(2)
    first, second = ({each.sample_id: each for each in study.lessons} for study in both.studies("a")[1::2])
    assert first["p0"].alternatives == ()
    assert (first["p0"].chosen, first["p0"].rejected) == (right(0), wrong(0, "a"))
    assert (second["p0"].chosen, second["p0"].rejected) == (right(0), "so answer other0")
    size = len(wrong(0, "a")) + 1
    expected = [] if paths == 2 else [wrong(0, "a")]  # the LLM's path is the same
    assert [each.text for each in second["p0"].alternatives] == expected
    assert [each.teacher for each in second["p0"].alternatives] == pytest.approx(
        [size * np.log(0.5)] * len(expected), rel=1e-3
    )
