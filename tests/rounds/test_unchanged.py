"""A party answers once as long as its weights are the same: in a new round, another phase, a resumed run."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import PUBLIC, TEST, Federation, federation, make_party, right
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import tiny

import lada
from lada.core.terms import Knowledge, Likelihood, Path, Sample
from lada.federation import party_cache
from lada.hosts.base import HOSTS
from lada.models.base import Answer
from lada.rounds.embedding import VECTORS, embed_public
from lada.rounds.party import Party
from lada.rounds.steps import gold_lessons, sft, study
from lada.rounds.unchanged import while_unchanged

KNOWS: dict[str, set[int]] = {"llm": {0, 1}, "a": {1, 2}, "b": {2, 3}}


def run(folder: FilePath, host: str, options: Any, *rounds: int, **more: Any) -> tuple[Federation, Counter[str]]:
    """Return a federation after some rounds, and how often the server did what: by its phases."""
    both = federation(folder, host, more.pop("knows", KNOWS), options, **more)
    both.run(*rounds)
    return both, Counter(phase.phase for phase in both.server.report.phases if phase.party == "llm")


def test_an_answer_of_a_round_is_what_was_told_at_the_end_of_the_one_before(tmp_path: FilePath):
    both, done = run(tmp_path, "fedmkt", {}, 0, 1, 2, 3)
    assert (done["answer"], done["answer-anew"], done["evaluate"]) == (1, 3, 4)
    assert len(both.studies("llm")) == 3
    asked = [step for r in (1, 2, 3) for step in both.host.plan(r, both.server.objective) if step.side == "server"]
    assert Counter(step.phase for step in asked if step.verb)["answer"] == 1


def test_an_llm_that_is_not_taught_answers_once_in_a_run(tmp_path: FilePath):
    for host, options in (("fedmkt", {"directions": "llm_to_slm"}), ("fedcot", {})):
        both, done = run(tmp_path / host, host, options, 0, 1, 2, 3)
        assert (done["answer"], done["evaluate"]) == (1, 1)
        told = [e for e in both.server.report.evaluations if e.party == "llm"]
        assert [e.round for e in told] == [0, 1, 2, 3]  # where it stands is told after every round
        assert len({e.overall.value for e in told}) == 1
        assert {f"test-paths-{r}.arrow" for r in range(4)} <= {f.name for f in both.server.folder.iterdir()}


def test_after_a_study_that_did_not_happen_nothing_is_answered_anew(tmp_path: FilePath):
    nobody: dict[str, set[int]] = {"llm": set(), "a": set(), "b": set()}
    both, done = run(tmp_path, "fedmkt", {}, 0, 1, 2, knows=nobody)
    assert not both.studies("llm")
    assert (done["answer"], done["answer-anew"], done["evaluate"]) == (1, 0, 1)
    labels = {"knowledge": "labels", "private_rounds": 0}
    both, done = run(tmp_path / "labels", "fedmkt", labels, 0, 1, 2, allocator="all", objective="sft")
    assert both.studies("llm")
    assert (done["answer"], done["answer-anew"]) == (1, 2)


def test_paths_sampled_in_tries_stay_those_of_the_first_time(tmp_path: FilePath):
    party = make_party("llm", {0}, tmp_path)
    learner: Any = party.learner
    learner.others = {s.question: [right(i)] * 9 for i, s in enumerate(PUBLIC)}
    from lada.rounds.knowledge import write_knowledge

    first = write_knowledge(party, 1, "answer-anew", "paths", tries=3)
    learner.others.clear()
    again = write_knowledge(party, 2, "answer", "paths", tries=3)
    assert (again.round, again.paths) == (2, first.paths)
    assert all(path.right for path in again.paths)
    assert write_knowledge(party, 2, "answer", "paths", tries=2).paths != first.paths


def test_who_had_no_answer_to_some_is_asked_again(tmp_path: FilePath):
    from lada.rounds.knowledge import write_knowledge

    party, calls = make_party("llm", {0, 1}, tmp_path), 0
    learner: Any = party.learner
    answer = learner.answer

    def down(questions: list[str], **how: Any) -> list[Answer]:
        nonlocal calls
        calls += 1
        first, *rest = answer(questions, **how)
        return [replace(first, text="", refused=True) if calls == 1 else first, *rest]

    learner.answer = down
    told = [len(write_knowledge(party, number, "answer", "paths").paths) for number in (1, 2, 3)]
    assert (told, calls) == ([len(PUBLIC) - 1, len(PUBLIC), len(PUBLIC)], 2)


LIKELIHOODS = st.builds(Likelihood, st.floats(), st.floats(), st.integers(0, 99), st.integers(0, 10**9))
PATHS = st.builds(
    Path,
    st.text(),
    st.text(),
    st.text(st.characters(exclude_categories=())),
    st.none() | st.text(),
    st.none() | st.booleans(),
    LIKELIHOODS,
    st.booleans(),
)


@given(st.lists(PATHS, max_size=3))
def test_what_is_kept_comes_back_to_the_bit(paths: list[Path]):
    party = make_party("llm", set(), FilePath("nowhere"))
    told = Knowledge("llm", 1, tuple(paths))
    assert while_unchanged(party, 1, PUBLIC, [], lambda: told) == told
    again = while_unchanged(party, 7, PUBLIC, [], _never)
    assert repr(again.paths) == repr(told.paths)  # NaN is no equal of itself
    assert again.round == 7


def _never() -> Knowledge:
    raise AssertionError("asked again")


CHANGES: list[Callable[[Party], object]] = [
    lambda party: study(party, gold_lessons(party, PUBLIC), sft(), party.studies.distil, round=1, phase="distil"),
    lambda party: party.load_adapter({"lora": np.ones(2, np.float32)}),
]


@pytest.mark.parametrize("change", CHANGES)
def test_other_weights_are_asked_anew(tmp_path: FilePath, change: Callable[[Party], object]):
    party, beside = make_party("llm", set(), tmp_path), make_party("shared SLM", set(), tmp_path)
    beside.memory = party.memory  # as the server's own copy of its clients' model has it
    asked: list[str] = []

    def ask(who: Party) -> None:
        def find() -> Knowledge:
            asked.append(who.name)
            return Knowledge(who.name, 1, (Path("p0", who.name, "x", None, None, Likelihood(-math.pi, 0, 1, 1)),))

        while_unchanged(who, 1, PUBLIC, ["paths"], find)

    for who in (party, beside, party, beside):
        ask(who)
    assert asked == ["llm", "shared SLM"]
    change(party)
    for who in (party, beside):
        ask(who)
    assert asked == ["llm", "shared SLM", "llm"]


@pytest.mark.parametrize(
    ("samples", "how"),
    [
        (PUBLIC[:4], ["paths", 1]),
        (TEST, ["paths", 1]),
        ((*PUBLIC[:4], Sample("p4", "another question", "gold4")), ["paths", 1]),
        ((*PUBLIC[:4], Sample("p4", "public 4", "another answer")), ["paths", 1]),
        (PUBLIC, ["paths", 2]),
    ],
)
def test_other_questions_or_ways_are_asked_anew(samples: tuple[Sample, ...], how: list[Any]):
    party = make_party("llm", set(), FilePath("nowhere"))
    while_unchanged(party, 1, PUBLIC, ["paths", 1], lambda: Knowledge("llm", 1, ()))
    with pytest.raises(AssertionError, match="asked again"):
        while_unchanged(party, 1, samples, how, _never)


def test_questions_are_embedded_once_and_only_where_an_allocator_asks(tmp_path: FilePath):
    for allocator, times in (("lada_paper", 1), ("lada", 0), ("verified", 0), ("all", 0)):
        both, done = run(tmp_path / allocator, "fedmkt", {}, 0, 1, 2, 3, allocator=allocator)
        assert done["embed"] == times
        embedded = [p.round for p in both.server.report.phases if (p.party, p.phase) == ("a", "embed")]
        assert embedded == [1] * times
    assert all(HOSTS.get(name).default_needs.student.isdisjoint({"embed"}) for name in HOSTS.names())


def test_vectors_stay_those_of_the_first_time_and_a_damaged_file_is_told_of(tmp_path: FilePath):
    party = make_party("a", set(), tmp_path)
    first = embed_public(party, 1)
    learner: Any = party.learner
    learner.embed = lambda questions, progress: np.full((len(questions), 2), 7, np.float32)
    assert (embed_public(party, 2) == first).all()
    assert not party.report.notices
    file = party.folder / VECTORS
    file.write_bytes(file.read_bytes()[:-1])
    assert (embed_public(party, 3) == 7).all()
    (notice,) = party.report.notices
    assert notice.startswith(f"{VECTORS} of a is ignored (")
    assert (embed_public(party, 4) == 7).all()
    assert len(party.report.notices) == 1


def test_a_question_that_is_new_is_seen_beside_those_that_were_seen(tmp_path: FilePath):
    party = make_party("a", set(), tmp_path)
    whole = embed_public(party, 1)
    asked: list[list[str]] = []
    learner: Any = party.learner

    def embed(questions: list[str], progress: Any) -> np.ndarray:
        asked.append(questions)
        return np.full((len(questions), whole.shape[1]), 7, np.float32)

    learner.embed = embed
    last, *others = party.task.public
    party.task = replace(party.task, public=(replace(last, id="new", question="What is new?"), *reversed(others)))
    found = embed_public(party, 2)
    assert asked == [["What is new?"]]
    assert (found[0] == 7).all()
    assert (found[1:] == whole[:0:-1]).all()
    assert (embed_public(party, 3) == found).all()
    assert len(asked) == 1


def test_a_resumed_run_knows_what_it_knew(tmp_path: FilePath):
    config = tiny(host={"name": "fedmkt", "options": {"directions": "llm_to_slm"}}, rounds=2)
    whole = lada.run(config, runs=tmp_path / "whole")
    party_cache.forget()
    lada.run({**config, "rounds": 1}, runs=tmp_path / "resumed")
    party_cache.forget()
    resumed = lada.run({**config, "rounds": 2}, runs=tmp_path / "resumed", resume=True)
    assert resumed.evaluations == whole.evaluations
    for results in (whole, resumed):
        done = Counter((p.phase, p.round) for p in results.wall_clock.phases if p.party == "llm")
        assert done == {("evaluate", 0): 1, ("answer", 1): 1}
