"""A client that sends garbage: left out of the round with a reason, and the run goes on as if it were not there."""

import json
from collections.abc import Mapping

import pytest
from test_resume import config

import lada
from lada.core.errors import FederationError
from lada.federation.nodes import Node

LIAR = "warehouse"
HOSTILE = "</script><script>alert(1)</script>"


def lies(change):
    """Return Node.handle, where what one client replies is changed."""
    handle = Node.handle

    def changed(self, phase, round, payload):
        reply = handle(self, phase, round, payload)
        return change(phase, dict(reply)) if self._name == LIAR else reply

    return changed


def garbage(phase: str, reply: dict[str, bytes]) -> Mapping[str, bytes]:
    return {kind: b"\x00garbage" for kind in reply} if phase == "contribute" else reply


def hostile_notice(phase: str, reply: dict[str, bytes]) -> Mapping[str, bytes]:
    (report,) = json.loads(reply["metrics"])
    report["notices"] = [HOSTILE]
    return {**reply, "metrics": json.dumps([report]).encode()}


def test_garbage_costs_its_sender_the_round(tmp_path, monkeypatch):
    monkeypatch.setattr(Node, "handle", lies(garbage))
    results = lada.run(config(), runs=tmp_path, overrides=("quorum=0.5",))
    names = [party.name for party in results.parties if party.role == "client"]
    assert len(names) == 2
    assert [(m.party, m.round, m.phase) for m in results.missing] == [(LIAR, round, "contribute") for round in (1, 2)]
    for missing in results.missing:
        assert missing.why == "malformed message (paths: not readable: OSError)"
    assert {e.party for e in results.evaluations if e.round == 2} == {"llm", "clinic"}
    with pytest.raises(FederationError, match=r"client 'warehouse': malformed message \(paths: not readable"):
        lada.run(config(), runs=tmp_path, overrides=("quorum=1.0",))


def test_a_notice_is_text_in_the_report(tmp_path, monkeypatch):
    monkeypatch.setattr(Node, "handle", lies(hostile_notice))
    results = lada.run(config(), runs=tmp_path, overrides=("rounds=1",))
    assert HOSTILE in results.notices
    page = (tmp_path / results.name / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
