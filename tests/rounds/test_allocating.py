"""What an allocator is given: the candidates, and a look at the tokens of the teacher's paths where it asks for one."""

from dataclasses import fields, replace
from pathlib import Path as FilePath

import pytest
from actors import ScriptedLearner, federation, make, make_party, right, task, wrong

from lada.allocators.base import ALLOCATORS, Candidates
from lada.allocators.memoryless import Memoryless
from lada.core.registry import Options
from lada.core.results import AllocationRecord
from lada.core.terms import Allocation, Knowledge, Likelihood, Path, TokenScores
from lada.rounds import allocating
from lada.rounds.options import CLIENT_REPLAY
from lada.rounds.party import Party

KNOWS = {"llm": {0, 1}, "a": {1, 2}, "b": {2, 3}}


class Looking(Memoryless):
    """Looks at two tokens of every path so many times, and takes nothing."""

    def __init__(self, times: int = 1) -> None:
        super().__init__(Options())
        self.times = times
        self.seen: list[list[TokenScores | None]] = []

    def apply(self, state, candidates: Candidates):
        """See Allocator.apply."""
        self.seen += [list(candidates.look(2)) for _ in range(self.times)]
        return state, Allocation(candidates.teacher, candidates.student, candidates.round, ()), {}


def knowledge(party: Party, texts: list[str]) -> Knowledge:
    paths = [
        Path(sample.id, party.name, text, text, None, Likelihood(-1.0, -1.0, 4, len(text)))
        for sample, text in zip(party.task.public, texts, strict=True)
    ]
    return Knowledge(party.name, 1, tuple(paths))


def let_choose(folder: FilePath, allocator: Looking, untraceable: frozenset[str] = frozenset()) -> Party:
    student, teacher = make_party("a", {1}, folder, allocator=allocator), make_party("llm", {0}, folder)
    assert isinstance(student.learner, ScriptedLearner)
    student.learner.untraceable = untraceable
    theirs, own = [right(i) for i in range(5)], [wrong(i, "a") for i in range(5)]
    allocating.allocate_offers(student, 1, knowledge(teacher, theirs), knowledge(student, own), replay=CLIENT_REPLAY)
    return student


@pytest.mark.parametrize("looked_at", [2, 5, 256])
def test_a_look_is_at_the_teachers_paths_in_their_order(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, looked_at: int
):
    monkeypatch.setattr(allocating, "LOOKED_AT", looked_at)
    allocator = Looking()
    let_choose(tmp_path, allocator, untraceable=frozenset({right(3)}))
    (seen,) = allocator.seen
    assert [scores and bytes(scores.tokens[:-1].tolist()).decode() for scores in seen] == [
        *(right(i) for i in range(3)),
        None,
        right(4),
    ]
    assert {scores.top.ids.shape[1] for scores in seen if scores} == {2}


class Reading(Looking):
    """Reads texts of its own for some samples, by their places."""

    def __init__(self, *texts: tuple[int, str]) -> None:
        super().__init__(0)
        self.texts = texts

    def apply(self, state, candidates: Candidates):
        """See Allocator.apply."""
        self.seen.append(list(candidates.score(self.texts)))
        return super().apply(state, candidates)


@pytest.mark.parametrize("looked_at", [1, 2, 256])
def test_any_text_can_be_read_behind_a_samples_question_in_no_more_goes_than_a_look(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, looked_at: int
):
    asked: list[tuple[str, str]] = []
    scored = ScriptedLearner.log_probs

    def log_probs(self, pairs, k: int, **more):
        asked.extend(pairs)
        return scored(self, pairs, k, **more)

    monkeypatch.setattr(ScriptedLearner, "log_probs", log_probs)
    monkeypatch.setattr(allocating, "LOOKED_AT", looked_at)
    texts = [(place % 5, f"step {place}") for place in reversed(range(12))]
    allocator = Reading(*texts)
    student = let_choose(tmp_path, allocator, untraceable=frozenset({"step 3"}))
    assert asked == [(f"public {place}", text) for place, text in texts]
    (seen,) = allocator.seen
    told = [None if text == "step 3" else text for _, text in texts]
    assert [scores and bytes(scores.tokens[:-1].tolist()).decode() for scores in seen] == told
    assert {scores.top.ids.shape[1] for scores in seen if scores} == {1}
    goes = [phase.phase for phase in student.report.phases].count("score")
    assert 1 <= goes <= -(-5 // looked_at)


def test_there_may_be_nothing_to_read(tmp_path: FilePath):
    allocator = Reading()
    let_choose(tmp_path, allocator)
    assert allocator.seen == [[]]


@pytest.mark.parametrize("times", [0, 1])
def test_a_look_costs_nothing_until_it_is_asked_for(tmp_path: FilePath, times: int):
    student = let_choose(tmp_path, Looking(times))
    assert [phase.phase for phase in student.report.phases] == ["judge", *["score"] * times]


def test_styles_are_counted_where_the_task_reads_them_and_no_allocator_is_told(tmp_path: FilePath):
    data = replace(task(), style=lambda sample, text: "short" if sample.id in {"p0", "p3"} else f"long {text[:2]}")
    told: list[AllocationRecord] = []
    for each in (data, task()):
        student = make_party("a", {1}, tmp_path, allocator="all", data=each)
        theirs, own = [right(i) for i in range(5)], [wrong(i, "a") for i in range(5)]
        teacher = make_party("llm", {0}, tmp_path)
        allocating.allocate_offers(
            student, 1, knowledge(teacher, theirs), knowledge(student, own), replay=CLIENT_REPLAY
        )
        told += student.take_report().allocations
    counted, plain = told
    assert counted.styles == {f"long {right(1)[:2]}": 3, "short": 2}
    assert "styles" not in plain.model_dump()
    assert not {"style", "task", "styles"} & {field.name for field in fields(Candidates)}


@pytest.mark.parametrize("allocator", ["lark", "rsr", "scas", "lalp"])
def test_an_allocator_that_looks_serves_both_directions(tmp_path: FilePath, allocator: str):
    both = federation(tmp_path, "fedmkt", KNOWS, allocator=make(ALLOCATORS, allocator, gold=False))
    both.run(0, 1)
    # Whoever knows half of each token finds all paths equally learnable, and all of these have some gain.
    assert {(r.teacher, r.student, r.chosen) for r in both.server.report.allocations} == {
        ("a", "llm", 5),
        ("b", "llm", 5),
        ("llm", "a", 5),
        ("llm", "b", 5),
    }
