"""What a study made of each chosen lesson reaches the student's allocator, in the next round and after a resume."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import make_party, right, wrong

import lada
from lada.allocators.base import Candidates, Studied, lesson_key
from lada.allocators.memoryless import Memoryless
from lada.config import make_config
from lada.core.errors import InputError
from lada.core.needs import Needs
from lada.core.registry import Options
from lada.core.terms import Allocation, Knowledge, Likelihood, Path
from lada.models.base import Course, StudyReport
from lada.rounds.allocating import allocate_offers
from lada.rounds.distilling import distil
from lada.rounds.options import Replay
from lada.rounds.party import Party
from lada.rounds.steps import gold_lessons

REPLAY = Replay(private=0.5, paths=0, general=0)


class Reading(Memoryless):
    """Reads what was studied, and takes nothing."""

    def __init__(self, *, watches: bool = True) -> None:
        super().__init__(Options())
        self.needs = Needs(lesson_losses=watches)
        self.seen: list[Studied | None] = []

    def apply(self, state: Any, candidates: Candidates) -> Any:
        """See Allocator.apply."""
        self.seen.append(candidates.studied)
        return state, Allocation(candidates.teacher, candidates.student, candidates.round, ()), {}


class Folders:
    """A journal in a folder."""

    def __init__(self, folder: FilePath) -> None:
        self.folder = folder

    def load(self, key: str) -> FilePath | None:
        return self.folder / key if (self.folder / key).exists() else None

    def save(self, key: str, fill: Callable[[FilePath], None]) -> None:
        (self.folder / key).mkdir(parents=True)
        fill(self.folder / key)


def party(folder: FilePath, allocator: Reading, *, asked: list[bool] | None = None) -> Party:
    """Return a student whose studies take two steps: all lessons, and then all but the first."""
    student = make_party("a", {1}, folder, allocator=allocator)

    def study(lessons: Any, *_: Any, course: Course, **__: Any) -> StudyReport:
        if asked is not None:
            asked.append(course.watch)
        count = len(lessons)
        losses = {
            "steps": np.repeat([0, 1], [count, count - 1]),
            "lessons": np.array([*range(count), *range(1, count)]),
            "losses": np.arange(2.0 * count - 1),
        }
        return StudyReport(2, count, 0, 0, 9, 2.0, 1.0, losses=losses if course.watch else {})

    student.learner.study = study  # type: ignore[method-assign]
    student.reopen = lambda _: student.learner
    return student


def knowledge(party: Party, texts: list[str]) -> Knowledge:
    samples = zip(party.task.public, texts, strict=True)
    return Knowledge(
        party.name, 1, tuple(Path(s.id, party.name, t, t, None, Likelihood(-1.0, -1.0, 4, len(t))) for s, t in samples)
    )


def learn(student: Party, round: int) -> None:
    """Let a student choose, and then study the first two public samples with two replayed ones."""
    own, theirs = knowledge(student, [wrong(i, "a") for i in range(5)]), [right(i) for i in range(5)]
    allocate_offers(student, round, replace(knowledge(student, theirs), party="llm"), own, replay=REPLAY)
    distil(
        student,
        round,
        gold_lessons(student, student.task.public[:2]),
        own,
        replay=REPLAY,
        teachers="llm",
    )


def test_an_allocator_sees_what_became_of_the_lessons_and_nothing_of_replayed_ones(tmp_path: FilePath):
    allocator = Reading()
    student = party(tmp_path, allocator)
    for round in (1, 2):
        learn(student, round)
    before, studied = allocator.seen
    assert before is None
    assert studied is not None
    texts = [each.chosen for each in gold_lessons(student, student.task.public[:2])]
    keys = [lesson_key(sample.id, text) for sample, text in zip(student.task.public, texts, strict=False)]
    count = student.report.studies[0].lessons
    assert count > 2
    assert studied.round == 1
    assert studied.steps.tolist() == [0, 0, 1]
    assert studied.keys.tolist() == [*keys, keys[1]]
    assert studied.losses.tolist() == [0, 1, count]


def test_nothing_is_watched_for_an_allocator_that_does_not_ask(tmp_path: FilePath):
    asked: list[bool] = []
    allocator = Reading(watches=False)
    student = party(tmp_path, allocator, asked=asked)
    for round in (1, 2):
        learn(student, round)
    assert asked == [False, False]
    assert allocator.seen == [None, None]


def test_a_study_that_the_journal_holds_tells_the_same(tmp_path: FilePath):
    seen = []
    for attempt in ("first", "resumed"):
        allocator, asked = Reading(), []
        student = party(tmp_path / attempt, allocator, asked=asked)
        student.journal = Folders(tmp_path / "journal")
        learn(student, 1)
        assert asked == ([True] if attempt == "first" else [])
        student.journal = Folders(tmp_path / attempt / "later")
        learn(student, 2)
        seen.append(allocator.seen[1])
    shutil.rmtree(tmp_path / "journal")
    first, resumed = seen
    assert first.round == resumed.round == 1
    for name in ("steps", "keys", "losses"):
        assert np.array_equal(getattr(first, name), getattr(resumed, name))


def run(**options: Any) -> dict[str, Any]:
    """Return five rounds of two clients, a few steps each."""
    study, none = {"steps": 3, "batch_size": 4}, {"private": 0.0, "paths": 0.0, "general": 0.0, "least": 0}
    return {
        "name": "five",
        "rounds": 5,
        "workers": 0,
        "task": {"kind": "rulebooks", "public": 12, "private": 8, "test_per_domain": 1, "replay": 4},
        "server": {"model": {"model": "zoo:slm-llama", "max_new_tokens": 16}, "distil": study},
        "clients": [
            {
                "name": name,
                "domains": [name],
                "model": {"model": f"zoo:{model}", "max_new_tokens": 16},
                "private": {"steps": 1, "batch_size": 4},
                "distil": study,
            }
            for name, model in (("warehouse", "slm-llama-small"), ("clinic", "slm-gpt2"))
        ],
        "plugin": "none",
        "host": {"name": "fedmkt", "options": {"knowledge": "paths", "client_replay": none, "server_replay": none}},
        "objective": "sft",
        "allocator": {"name": "lada_paper", "options": {"clusters": 3, "hidden": 16, **options}},
    }


@pytest.mark.slow
@pytest.mark.parametrize(("reward", "first"), [("rounds", 3), ("batches", 2)])
def test_five_rounds_of_the_papers_filter(tmp_path: FilePath, reward: str, first: int):
    results = lada.run(run(reward=reward), runs=tmp_path)
    assert len(results.allocations) == 5 * 2 * 2  # rounds, clients, directions
    for record in results.allocations:
        assert 1 <= record.chosen <= 6
        told = record.diagnostics
        if record.student != "llm":  # of whose choices the fuser may leave out some
            assert ("rewarded" in told) == (record.round >= first)
        if "rewarded" in told:
            assert 0 < told["reward"] < 1
            assert told["history"] >= told["rewarded"] > 0
    assert {study.party for study in results.studies if study.round == 5 and study.phase == "distil"} >= {
        "warehouse",
        "clinic",
    }


def test_a_study_whose_losses_cannot_be_read_is_refused_before_round_1():
    pytest.importorskip("dp_accounting")
    private = run(reward="batches")
    private["clients"][0]["distil"] = {"steps": 1, "batch_size": 2, "dp": {"noise_multiplier": 1.0}}
    with pytest.raises(
        InputError, match=r"clients.warehouse.*'lada_paper' reads the losses .* which dp does not reveal"
    ):
        make_config(private)
