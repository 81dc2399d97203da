"""Where the contrast of a pair starts, in the tokens of a party that reads bytes or words."""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest
from actors import BYTES, ScriptedLearner, make, make_party

from lada.core.terms import Lesson, Origin, Sample
from lada.objectives.base import OBJECTIVES
from lada.rounds.party import Party
from lada.rounds.starts import with_starts

CHOSEN, REJECTED = "ü 1 . b 2 . answer 2", "ü 1 . b 3 . answer 4"
PAIR = Lesson("p0", "public 0", CHOSEN, REJECTED)


def party(folder: FilePath, start: str, steps: Any = None) -> Party:
    made = make_party("a", set(), folder, objective=make(OBJECTIVES, "contrastive", form="hinge", start=start))
    made.task = replace(made.task, steps=steps)
    return made


def starts(lesson: Lesson) -> tuple[int, int]:
    return lesson.chosen_start, lesson.rejected_start


def notices(of: Party) -> list[str]:
    return list(of.report.notices)


def by_three(_: Sample, text: str) -> list[tuple[str, bool]]:
    """Return a path's steps; those with a 3 and a wrong answer are wrong."""
    return [(step, "3" not in step) for step in text.split(" . ")[:-1]] + [("answer 4", "answer 4" not in text)]


def test_whole_paths_start_at_their_beginning(tmp_path: FilePath):
    assert with_starts(party(tmp_path, "path"), [PAIR], 1) == [PAIR]


def test_both_start_at_the_first_step_that_differs(tmp_path: FilePath):
    of = party(tmp_path, "step")
    alone = Lesson("p1", "public 1", "answer 1")
    (first, second) = with_starts(of, [alone, PAIR], 1)
    assert first == alone
    assert starts(second) == (7, 7)  # the first letter has two bytes
    assert replace(second, chosen_start=0, rejected_start=0) == PAIR
    assert notices(of) == []


def test_a_token_across_the_border_belongs_to_the_contrast(tmp_path: FilePath):
    of = party(tmp_path, "step")
    assert isinstance(of.learner, ScriptedLearner)
    of.learner.words = (*BYTES, "ü 1".encode(), b". b")
    assert starts(with_starts(of, [PAIR], 1)[0]) == (2, 2)  # "ü 1", " ", ". b": the third goes beyond the border


def test_a_shorter_path_starts_at_its_end(tmp_path: FilePath):
    (lesson,) = with_starts(party(tmp_path, "step"), [replace(PAIR, rejected="ü 1 .")], 1)
    assert starts(lesson) == (7, 6)  # the end of the text is the seventh token


def test_the_rejected_path_starts_where_it_goes_wrong(tmp_path: FilePath):
    of = party(tmp_path, "wrong_step", by_three)
    late = replace(PAIR, rejected="ü 1 . c 2 . answer 4")
    assert [starts(each) for each in with_starts(of, [PAIR, late], 1)] == [(7, 7), (7, 13)]
    assert notices(of) == []


def test_what_both_share_is_never_contrasted(tmp_path: FilePath):
    of = party(tmp_path, "wrong_step", lambda _, text: [("ü 1 .", False)])
    assert starts(with_starts(of, [PAIR], 1)[0]) == (7, 7)


@pytest.mark.parametrize("why", ["no reader", "right", "generated", "no answer"])
def test_where_no_step_is_known_to_be_wrong_the_first_that_differs_counts(tmp_path: FilePath, why: str):
    of = party(tmp_path, "wrong_step", None if why == "no reader" else by_three)
    if why == "right":
        of.task = replace(of.task, steps=lambda _, text: [(text, True)])
    first, *others = of.task.public
    if why == "generated":
        of.task = replace(of.task, public=(replace(first, origin=Origin("llm", 1, (), 1.0)), *others))
    if why == "no answer":
        of.task = replace(of.task, public=(replace(first, answer=None), *others))
    assert starts(with_starts(of, [PAIR], 3)[0]) == (7, 7)
    assert notices(of) == [
        "round 3: of 1 pair, a contrasts 1 from the first step that differs, since no step is known to be wrong"
    ]


def test_a_path_that_cannot_be_traced_is_contrasted_as_a_whole(tmp_path: FilePath):
    of = party(tmp_path, "step")
    assert isinstance(of.learner, ScriptedLearner)
    of.learner.untraceable = frozenset({REJECTED})
    other = replace(PAIR, rejected="b")
    assert [starts(each) for each in with_starts(of, [PAIR, other], 2)] == [(0, 0), (0, 0)]
    assert notices(of) == ["round 2: of 2 pairs, a contrasts 1 as a whole, since their tokens cannot be traced"]
