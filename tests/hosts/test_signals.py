"""A teacher sends what its student's objective asks for, though its own may ask for something else."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import Federation, federation, make
from hypothesis import given
from hypothesis import strategies as st

from lada.codecs.soft_targets import SoftTargets
from lada.core.terms import SparseLogProbs, TokenScores
from lada.objectives.base import OBJECTIVES
from lada.rounds.knowledge import SOFT, VOCABULARY, fewest


def differing(folder: FilePath, host: str = "fedmkt", **k: int) -> Federation:
    """Return a federation of which each party asks for `k` tokens per position; who is not named asks for none."""
    options = {"knowledge": "labels"} if host == "fedmkt" else {}
    knows = {"llm": {0, 1, 2}, "a": {0, 1}, "b": {1, 2}}
    made = federation(folder, host, knows, options, allocator="all")
    parties = {"llm": made.server, **made.clients}
    for name, party in parties.items():
        party.objective = make(OBJECTIVES, "soft_targets", k=k[name]) if name in k else make(OBJECTIVES, "sft")
    asked = {name: party.objective.needs.signal for name, party in parties.items()}
    made.server.signals = {name: asked[name] for name in made.clients}
    for client in made.clients.values():
        client.signals = {"llm": asked["llm"]}
    return made


def sent(both: Federation, phase: str, receiver: str) -> Any:
    """Return the messages of a phase to a party, by sender."""
    return {
        each.sender: each.payload for each in both.exchange.sent if (each.phase, each.receiver) == (phase, receiver)
    }


def width(payload: Any) -> int | None:
    return SoftTargets(payload[SOFT], known_ids=None).k if SOFT in payload else None


def test_each_client_is_sent_as_much_as_it_asks_for_and_the_server_nothing(tmp_path: FilePath):
    both = differing(tmp_path, b=2, a=4)
    both.run(1)
    told = sent(both, "contribute", "llm")
    assert all(not payload.keys() & {SOFT, VOCABULARY} for payload in told.values())
    learn = {name: sent(both, "learn", name)["llm"] for name in ("a", "b")}
    assert {name: width(payload) for name, payload in learn.items()} == {"a": 4, "b": 2}
    soft = {name: [x.soft for x in both.studies(name)[-1].lessons if x.soft is not None] for name in ("a", "b")}
    assert {each.ids.shape[1] for each in soft["a"]} == {4}
    assert {each.ids.shape[1] for each in soft["b"]} == {2}
    assert all(lesson.soft is None for lesson in both.studies("llm")[0].lessons)


def test_the_server_is_sent_what_it_asks_for_by_clients_that_ask_for_nothing(tmp_path: FilePath):
    both = differing(tmp_path, llm=3)
    both.run(1)
    assert {name: width(payload) for name, payload in sent(both, "contribute", "llm").items()} == {"a": 3, "b": 3}
    assert all(not sent(both, "learn", name)["llm"].keys() & {SOFT, VOCABULARY} for name in ("a", "b"))
    assert any(lesson.soft is not None for lesson in both.studies("llm")[0].lessons)


def test_one_that_asks_for_nothing_is_sent_nothing_beside_one_that_does(tmp_path: FilePath):
    both = differing(tmp_path, b=2)
    both.run(1)
    learn = {name: sent(both, "learn", name)["llm"] for name in ("a", "b")}
    assert {name: width(payload) for name, payload in learn.items()} == {"a": None, "b": 2}
    assert not learn["a"].keys() & {SOFT, VOCABULARY}
    assert VOCABULARY in learn["b"]


def test_a_consensus_is_as_wide_as_each_asks_for(tmp_path: FilePath):
    both = differing(tmp_path, "fedmd", llm=2, a=4, b=3)
    both.run(1)
    assert {name: width(sent(both, "digest", name)["llm"]) for name in ("a", "b")} == {"a": 4, "b": 3}
    assert {name: width(payload) for name, payload in sent(both, "contribute", "llm").items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize("k", [1, 2, 3])
@given(st.integers(1, 3), st.integers(0, 2**32))
def test_the_fewest_are_the_likeliest_with_the_texts_own(k: int, rows: int, seed: int):
    rng = np.random.default_rng(seed)
    ids = np.stack([np.sort(rng.choice(9, 4, replace=False)) for _ in range(rows)]).astype(np.int32)
    log_probs = rng.choice([-1.0, -2.0, -3.0], (rows, 4)).astype(np.float32)
    own = np.array([rng.choice(row) for row in ids], np.int32)
    scores = TokenScores(own, np.zeros((rows, 2), np.int32), SparseLogProbs(ids, log_probs))
    found = fewest(scores, k)
    assert found.top.ids.shape == (rows, k)
    for row in range(rows):
        said = dict(zip(ids[row].tolist(), log_probs[row].tolist(), strict=True))
        others = sorted((token for token in said if token != own[row]), key=lambda token: (-said[token], token))
        expected = sorted([int(own[row]), *others[: k - 1]])
        assert found.top.ids[row].tolist() == expected
        assert found.top.log_probs[row].tolist() == [said[token] for token in expected]
    assert np.array_equal(fewest(scores, 4).top.ids, ids)
