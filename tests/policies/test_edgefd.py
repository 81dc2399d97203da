"""The policy `edgefd`: only what resembles the client's own questions leaves, and the server averages what does."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import CANARY, Federation, federation, make
from tiny_run import tiny

from lada.allocators.base import ALLOCATORS
from lada.allocators.edgefd import EdgeFd as Rule
from lada.allocators.edgefd import EdgeFdOptions, RegionOptions
from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.terms import Knowledge, Likelihood, OwnQuestions, Path, Sample, SparseLogProbs
from lada.objectives.base import OBJECTIVES
from lada.planning.compose import plan
from lada.policies.base import Owner
from lada.policies.edgefd import EdgeFd
from lada.rounds.consensus import consensus

SQUARE = np.array([(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)], np.float32)


def owner(notes: list[str], public: list[tuple[float, float]], own: np.ndarray | None = SQUARE) -> Owner:
    samples = [Sample(f"s{i}", "?") for i in range(len(public))]
    mine = None if own is None else OwnQuestions(tuple(Sample(f"p{i}", "?") for i in range(len(own))), own)
    return Owner(
        "a",
        0,
        judge=lambda texts: [],
        verify=lambda id, text: (None, None),
        note=notes.append,
        embed=lambda: (samples, np.array(public, np.float32)),
        own=lambda: mine,
    )


def knowledge(*ids: str) -> Knowledge:
    return Knowledge("a", 1, tuple(Path(id, "a", "1", "1", None, Likelihood(-1.0, -1.0, 1, 1)) for id in ids))


def test_what_lies_outside_stays_and_is_counted():
    notes: list[str] = []
    policy = EdgeFd(RegionOptions(centres=1))
    public = [(1.2, 0.5), (1.21, 0.5), (0.9, 0.9), (0.5, 0.5)]
    state, released = policy.release({}, knowledge("s0", "s1", "s2"), owner(notes, public))
    assert [path.sample_id for path in released.paths] == ["s0", "s2"]
    assert notes == ["sends 2 of 3 paths, since it knows nothing like the others"]
    # The region is that of the first time.
    moved = owner(notes, public, SQUARE + 50)
    again, released = policy.release(bytes_to_arrays(arrays_to_bytes(state)), knowledge("s0", "s1"), moved)
    assert [path.sample_id for path in released.paths] == ["s0"]
    assert arrays_to_bytes(again) == arrays_to_bytes(state)


def test_a_client_without_private_questions_sends_nothing():
    notes: list[str] = []
    _, released = EdgeFd(RegionOptions()).release({}, knowledge("s0"), owner(notes, [(0, 0)], SQUARE[:0]))
    assert released.paths == ()
    assert notes == ["sends 0 of 1 path, since it knows nothing like the others"]


def test_the_server_averages_the_logits_of_those_that_answered():
    # Logits (2, 0) and (0, 4) of two clients; a third, with (9, 9), has not answered: the mean is (1, 2).
    def member(*logits: float) -> SparseLogProbs:
        log_probs = np.array(logits) - np.log(np.exp(logits).sum())
        return SparseLogProbs(np.array([[0, 1]], np.int32), log_probs[None].astype(np.float32))

    merged = consensus([member(2, 0), member(0, 4)], np.array([0]), vocabulary_size=2, k=2, average="logits")
    wanted = np.array([1.0, 2.0]) - np.log(np.exp([1.0, 2.0]).sum())
    assert merged.log_probs[0] == pytest.approx(wanted, abs=1e-5)


def federated(folder: FilePath, host: str, objective: Any, options: dict[str, Any]) -> Federation:
    """Return clients that send only what is near their own data: `a` knows of p0 and p1, `b` of p3 and p4."""
    both = federation(
        folder,
        host,
        {"llm": {0, 1, 2, 3, 4}, "a": set(), "b": set()},
        options,
        allocator=Rule(EdgeFdOptions(centres=1)),
        objective=objective,
    )
    for name, client in both.clients.items():

        def embed(questions: list[str], own: float = 0.5 if name == "a" else 3.5, **_: Any) -> np.ndarray:
            places = [float(q[-1]) if q.startswith("public") else own + (int(q[-1]) - 1.5) / 3 for q in questions]
            return np.array([(place, 0.0) for place in places], np.float32)

        learner: Any = client.learner
        learner.embed = embed
        client.policies = (("edgefd", EdgeFd(RegionOptions(centres=1, quantile=1.0))),)
        client.allocator = Rule(EdgeFdOptions(centres=1, quantile=1.0))
    return both


def crossed(both: Federation) -> bytes:
    return b"".join(part for sent in both.exchange.sent for part in sent.payload.values())


NONE = {"private": 0.0, "paths": 0.0, "general": 0.0, "least": 0}


def test_fedmkt_teaches_the_server_only_what_clients_know_and_clients_only_what_is_theirs(tmp_path: FilePath):
    both = federated(tmp_path, "fedmkt", "sft", {"client_replay": NONE, "server_replay": NONE, "trust": "off"})
    both.run(1)
    (study,) = both.studies("llm")
    assert {lesson.sample_id for lesson in study.lessons} == {"p0", "p1", "p3", "p4"}
    learnt = {name: {lesson.sample_id for lesson in both.studies(name)[1].lessons} for name in "ab"}
    assert learnt == {"a": {"p0", "p1"}, "b": {"p3", "p4"}}
    assert CANARY.encode() not in crossed(both)
    phases = [(phase.party, phase.phase) for phase in both.server.report.phases if phase.phase.startswith("embed")]
    assert phases == [("a", "embed"), ("a", "embed-own"), ("b", "embed"), ("b", "embed-own")]


def test_a_plan_tells_when_clients_embed_their_private_questions():
    planned = plan(tiny(rounds=2, plugin="none", host="fedmkt", allocator="edgefd", policies=["edgefd"]))
    steps = [(each.first, step) for each in planned.schedule for step in each.steps if step.phase.startswith("embed")]
    assert sorted((round, step.side, step.phase, step.samples) for round, step in steps) == [
        (1, "client", "embed", "public"),
        (1, "client", "embed-own", "private"),
        (1, "server", "embed", "public"),
    ]


def test_fedmd_averages_over_those_that_answered_and_leaves_out_what_nobody_did(tmp_path: FilePath):
    objective = make(OBJECTIVES, "soft_targets", k=3, form="forward_kl", label_weight=0.0)
    options = {"client_replay": NONE, "server_replay": NONE, "llm_member": False}
    both = federated(tmp_path, "fedmd", objective, options)
    for client in both.clients.values():
        client.allocator = make(ALLOCATORS, "all")
    both.run(1)
    for name in ("a", "b"):
        _, digest, _ = both.studies(name)
        assert {lesson.sample_id for lesson in digest.lessons if lesson.soft is not None} == {"p0", "p1", "p3", "p4"}
    assert "round 1: a sends 2 of 5 paths, since it knows nothing like the others" in both.server.report.notices
