"""A message is decoded once by whom it is for, and a broadcast is hashed and counted once, whatever looks at it."""

import gc
import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from actors import make_party
from tiny_run import tiny

import lada
from lada.codecs import likelihoods, metrics, paths
from lada.codecs.base import Codecs
from lada.codecs.received import Received
from lada.codecs.soft_targets import SoftTargets
from lada.core.known import Known, read
from lada.core.results import Results
from lada.core.terms import Knowledge, Likelihood
from lada.core.terms import Path as Sampled
from lada.federation import exchange, pending
from lada.rounds import knowledge, reports, verdicts, wire


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is decoded of others' messages; of what is a party's own, nothing is limited."""
    found: Counter[str] = Counter()

    def count(owner: Any, name: str, what: str) -> None:
        function = getattr(owner, name)

        def call(*given: Any, **named: Any) -> Any:
            found[what] += named.get("limit") is not None
            return function(*given, **named)

        monkeypatch.setattr(owner, name, call)

    count(paths, "decode", "paths")
    count(likelihoods, "decode", "likelihoods")
    count(SoftTargets, "__init__", "soft targets")
    count(metrics, "decode_records", "reports")
    return found


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    return counted(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Counter[str]]:
    """What a run came to, and what it decoded."""
    with pytest.MonkeyPatch.context() as patch:
        calls = counted(patch)
        return lada.run(tiny(), runs=tmp_path_factory.mktemp("whole")), calls


def test_each_part_of_each_message_is_decoded_once(whole: tuple[Results, Counter[str]]):
    _, calls = whole
    # Two replies of paths and two messages with those of the LLM; reports of round 0, of two phases and of the end.
    assert calls == {"paths": 4, "reports": 8}


def test_so_are_soft_targets(tmp_path: Path, calls: Counter[str]):
    host = {"name": "fedmkt", "options": {"knowledge": "labels"}}
    lada.run(tiny(host=host, allocator="dual_min_ce", objective="soft_targets"), runs=tmp_path)
    assert calls == {"likelihoods": 4, "soft targets": 4, "reports": 8}


def test_what_there_is_no_room_for_is_decoded_again(
    whole: tuple[Results, Counter[str]], tmp_path: Path, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pending, "KEPT", 0)
    assert lada.run(tiny(), runs=tmp_path).traffic == whole[0].traffic
    assert calls == {"paths": 6, "reports": 16}


@pytest.mark.parametrize("honest", [True, False])
def test_only_what_is_not_so_is_verified_again(honest: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    verified: list[int] = []

    def counted(party: Any, asked: Any, *given: Any) -> Any:
        verified.append(len(asked))
        return verdicts.checked(party, asked, *given)

    def claimed(paths: Any) -> Any:
        return paths if honest else replace(paths, paths=tuple(replace(path, right=None) for path in paths.paths))

    monkeypatch.setattr(wire, "checked", counted)
    party = make_party("llm", set(), tmp_path)
    texts = ["so answer gold0", "so answer gold9"]
    written = Knowledge(
        "a",
        1,
        tuple(
            Sampled(sample.id, "a", text, party.task.extract(text), None, Likelihood(-1.0, -1.0, 2, len(text)))
            for sample, text in zip(party.task.public, texts, strict=False)
        ),
    )
    first = knowledge.read_knowledge(party, knowledge.encode(written, "paths"), "paths")
    payload = Known(knowledge.encode(claimed(first), "paths"))
    found = [knowledge.read_knowledge(party, payload, "paths")]
    del payload.made["paths"]
    found.append(knowledge.read_knowledge(party, payload, "paths"))
    assert found == [first, first]
    assert verified == ([2, 2] if honest else [2, 2, 2])


@pytest.mark.parametrize(("kept", "held"), [(0, 0), (pending.KEPT, 2)])
def test_what_was_decoded_is_held_as_far_as_there_is_room(
    kept: int, held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def counted(*given: Any) -> None:
        found.append(sum(type(each) is Received for each in gc.get_objects()))
        collect(*given)

    found: list[int] = []
    collect = reports.collect
    monkeypatch.setattr(pending, "KEPT", kept)
    monkeypatch.setattr(reports, "collect", counted)
    lada.run(tiny(), runs=tmp_path)
    assert found == [
        0,
        held,
        0,
    ]  # at the beginning, when the paths of two clients were heard, and when they have learnt


def test_a_settled_payload_keeps_nothing_more():
    made: list[str] = []
    payload = Known({"a": b"1", "b": b"2"})
    assert [read(payload, "a", lambda: made.append("a") or 1) for _ in range(2)] == [1, 1]
    payload.settle()
    assert [read(payload, kind, lambda kind=kind: made.append(kind) or 2) for kind in "abb"] == [1, 2, 2]
    assert made == ["a", "b", "b"]


def test_a_broadcast_is_hashed_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    looked: Counter[str] = Counter()

    def counted(data: bytes) -> int:
        looked["counts"] += 1
        return 3

    def sha256(data: bytes) -> Any:
        looked["hashes"] += 1
        return hashlib.sha256(data)

    from lada.federation.ledger import Ledger

    codecs = Codecs()
    monkeypatch.setattr(codecs["paths"], "describe", counted)
    with Ledger(tmp_path, wire.describe(codecs)) as ledger:
        payload = exchange.Known({"paths": b"p" * 100})
        monkeypatch.setattr("lada.core.known.hashlib", type("hashing", (), {"sha256": staticmethod(sha256)}))
        for name in ("a", "b", "c"):
            assert ledger.record(1, "learn", "server", name, payload) == 100
        digest = hashlib.sha256(b"p" * 100).hexdigest()
        assert [(row.receiver, row.samples, row.bytes, row.digest) for row in ledger.rows] == [
            (name, 3, 100, digest) for name in ("a", "b", "c")
        ]
    assert looked == {"counts": 1, "hashes": 1}
