"""Verified answers and records of agreement: what a client that is wrong on everything can teach."""

from pathlib import Path as FilePath

import numpy as np
import pytest
from actors import Federation, federation, make_party, right, wrong

from lada.core.terms import Allocation, Choice, Knowledge, Likelihood, Source
from lada.core.terms import Path as ReasoningPath
from lada.hosts.trust import limit_by_trust


def taught(both: Federation) -> dict[str, str]:
    """Return what the LLM studied first, by sample id, without its own replay."""
    (studied, *_) = both.studies("llm")
    return {lesson.sample_id: lesson.chosen for lesson in studied.lessons if lesson.sample_id.startswith("p")}


@pytest.mark.parametrize("allocator", ["verified", "lada"])
def test_a_wrong_path_is_never_chosen_whatever_its_writer_claims(tmp_path: FilePath, allocator: str, monkeypatch):
    def lying(party, samples, round, purpose, *, tries=1):
        knowledge = honest(party, samples, round, purpose, tries=tries)
        if party.name != "b" or purpose != "answer":
            return knowledge

        def surest(text: str) -> Likelihood:
            return Likelihood(0.0, 0.0, 9, len(text.encode()))

        paths = tuple(
            ReasoningPath(p.sample_id, "b", wrong(i, "b"), f"gold{i}", True, surest(wrong(i, "b")))
            for i, p in enumerate(knowledge.paths)
        )
        return Knowledge("b", round, paths)

    from lada.hosts import knowledge as module

    honest = module.write_paths
    knows = {"llm": {0}, "a": {1, 2}, "b": {3, 4}}
    alone = federation(tmp_path / "alone", "fedmkt", {"llm": {0}, "a": {1, 2}}, allocator=allocator)
    alone.run(1, 2)
    monkeypatch.setattr(module, "write_paths", lying)
    both = federation(tmp_path / "both", "fedmkt", knows, allocator=allocator)
    both.run(1, 2)
    assert not [s for studied in both.studies("llm") for s in studied.lessons if s.chosen.endswith(("b0", "b3", "b4"))]
    # The others are as if it had not been there.
    for party in ("llm", "a"):
        assert [s.texts() for s in both.studies(party)] == [s.texts() for s in alone.studies(party)]


def knowledge(party: str, answers: list[str | None]) -> Knowledge:
    likelihood = Likelihood(-1.0, -1.0, 1, 1)
    return Knowledge(
        party, 1, tuple(ReasoningPath(f"p{i}", party, a or "", a, None, likelihood) for i, a in enumerate(answers))
    )


def allocation(client: str, teacher: int, student: int = 0) -> Allocation:
    sources: list[Source] = [*["teacher" for _ in range(teacher)], *["student" for _ in range(student)]]
    return Allocation(client, "llm", 1, tuple(Choice(f"p{i}", s, 1.0, "") for i, s in enumerate(sources)))


def test_by_hand(tmp_path: FilePath):
    llm = make_party("llm", set(), tmp_path)
    mine = knowledge("llm", ["x", "y", "z", "w"])
    offers = {
        "a": knowledge("a", ["x", "y", "q", None]),  # 2 of 4
        "b": knowledge("b", ["x", "q", "q", "q"]),  # 1 of 4
        "c": knowledge("c", ["q", "q", None, "q"]),  # 0 of 4
    }
    chosen = {"a": allocation("a", 4), "b": allocation("b", 4), "c": allocation("c", 3, student=1)}
    limited = limit_by_trust(llm, chosen, offers, mine)
    assert limited["a"] == chosen["a"]
    assert limited["b"] == chosen["b"]  # the median record
    assert [choice.source for choice in limited["c"].choices] == ["student"]
    assert {client: state.tolist() for client, state in llm.states["trust"].items()} == {
        "a": [2, 4],
        "b": [1, 4],
        "c": [0, 4],
    }
    assert llm.report.notices == (
        "round 1: 3 of 3 chosen paths of c are left out, since it agreed with llm on 0.0 % of the samples so far",
    )
    # Next round c is right twice: 2 of 8, against 4 of 8 and 2 of 8; and a new d is compared by this round alone.
    offers["c"], offers["d"] = offers["a"], knowledge("d", ["x", "y", "z", "w"])
    limited = limit_by_trust(llm, chosen | {"d": allocation("d", 2)}, offers, mine)
    # Records .5, .25, .25, 1; median .375; b and c keep 2/3: round(2.67) = 3 of 4, and 2 of 3.
    assert {client: len([c for c in each.choices if c.source == "teacher"]) for client, each in limited.items()} == {
        "a": 4,
        "b": 3,
        "c": 2,
        "d": 2,
    }


def test_where_nobody_agrees_nobody_is_limited(tmp_path: FilePath):
    llm = make_party("llm", set(), tmp_path)
    offers = {"a": knowledge("a", ["q"]), "b": knowledge("b", [None])}
    chosen = {"a": allocation("a", 1), "b": allocation("b", 1)}
    assert limit_by_trust(llm, chosen, offers, knowledge("llm", ["x"])) == chosen
    assert limit_by_trust(llm, {}, {}, knowledge("llm", ["x"])) == {}


def test_a_record_survives_the_checkpoint(tmp_path: FilePath):
    from lada.federation import checkpoints

    both = federation(tmp_path, "fedmkt", {"llm": {0, 1}, "a": {1}, "b": {0, 2}}, {"trust": "agreement"})
    both.run(1)
    state = both.server.states["trust"]
    assert {client: record.tolist() for client, record in state.items()} == {"a": [1, 5], "b": [1, 5]}
    again = checkpoints.bytes_to_arrays(checkpoints.arrays_to_bytes(state))
    assert all(np.array_equal(again[client], state[client]) for client in state)


def test_without_gold_the_liars_paths_stay_out(tmp_path: FilePath):
    knows = {"llm": {0, 1}, "a": {0, 1, 2}, "b": set[int]()}
    outcomes = {}
    for trust in ("off", "agreement"):
        both = federation(tmp_path / trust, "fedmkt", knows, {"trust": trust}, allocator="all", sure={"b": {2: -0.5}})
        both.run(1)
        outcomes[trust] = taught(both)["p2"]
    assert outcomes == {"off": wrong(2, "b"), "agreement": right(2)}
