"""A client that rehearses general questions in its private studies."""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest
from actors import make_party, task
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import tiny

import lada
from lada.config import make_config
from lada.core.errors import InputError
from lada.core.terms import Sample
from lada.rounds.party import Party
from lada.rounds.rehearsal import check_general, rehearsed
from lada.rounds.steps import gold_lessons

PRIVATE = tuple(Sample(f"x{i}", f"{i} of mine ?", str(i)) for i in range(6))
GENERAL = tuple(Sample(f"g{i}", f"{i} in general ?", str(i)) for i in range(4))


def party(folder: FilePath, share: float) -> Party:
    made = make_party("a", set(), folder)
    made.private, made.rehearse = PRIVATE, share
    made.task = replace(task(), replay=GENERAL)
    return made


def drawn(of: Party, round: int = 1, phase: str = "private") -> list[str]:
    own = gold_lessons(of, of.private)
    lessons, count = rehearsed(of, own, round, phase)
    assert lessons[: len(own)] == own
    assert count == len(lessons) - len(own)
    return [lesson.sample_id for lesson in lessons[len(own) :]]


def test_a_quarter_of_eight_lessons_are_general(tmp_path: FilePath):
    of = party(tmp_path, 0.25)
    found = drawn(of)
    assert len(found) == 2  # 6 private ones are three quarters of 8
    assert set(found) < {sample.id for sample in GENERAL}
    assert found == drawn(of)
    assert len({tuple(drawn(of, round, phase)) for round in range(1, 5) for phase in ("private", "private-more")}) > 1


def test_all_that_there_are_if_there_are_too_few(tmp_path: FilePath):
    assert sorted(drawn(party(tmp_path, 0.9))) == ["g0", "g1", "g2", "g3"]


def test_none_by_default_and_none_without_private_samples(tmp_path: FilePath):
    of = party(tmp_path, 0.0)
    assert drawn(of) == []
    of.rehearse, of.private = 0.5, ()
    assert rehearsed(of, [], 1, "private") == ([], 0)


@given(st.floats(0, 0.99), st.integers(1, 6))
def test_the_share_is_kept_as_far_as_there_are_general_questions(share: float, private: int):
    of = party(FilePath("unused"), share)
    of.private = PRIVATE[:private]
    assert len(drawn(of)) == min(len(GENERAL), round(private / (1 - share) * share))


def test_a_task_without_general_questions_is_refused():
    with pytest.raises(InputError, match=r"rehearse: 0\.25, but the task has no general questions; .* rehearse: 0"):
        check_general(0.25, ())
    check_general(0.0, ())
    check_general(0.25, GENERAL)


@pytest.mark.parametrize(
    ("changes", "private", "said"),
    [
        ({}, {"dp": {"noise_multiplier": 1.0}}, r"rehearse: the guarantee of private\.dp .* expected 0"),
        ({"host": "centralized", "plugin": "none"}, {}, "rehearse: the host studies private samples at the server"),
    ],
)
def test_a_client_that_cannot_rehearse_is_refused(changes: dict[str, Any], private: dict[str, Any], said: str):
    made = tiny(**changes)
    if changes:
        del made["allocator"], made["objective"]
    made["clients"][0] |= {"rehearse": 0.25, "private": {"steps": 1, "batch_size": 4, **private}, "withhold": None}
    with pytest.raises(InputError, match=said):
        make_config(made)


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan"), "much"])
def test_a_share_is_below_one(value: Any):
    made = tiny()
    made["clients"][0]["rehearse"] = value
    with pytest.raises(InputError, match="rehearse"):
        make_config(made)


def test_a_run_counts_what_was_rehearsed(tmp_path: FilePath):
    made = tiny(rounds=1)
    made["clients"][0]["rehearse"] = 0.25
    results = lada.run(made, runs=tmp_path)
    found = {study.party: study.replayed for study in results.studies if study.phase == "private"}
    assert found == {"warehouse": 2, "clinic": 0}  # of 6 private samples and 2 general ones
    made["task"]["replay"] = 0
    with pytest.raises(InputError, match=r"clients\.warehouse.*rehearse: 0\.25, but the task has no general questions"):
        lada.run(made | {"name": "without"}, runs=tmp_path)
