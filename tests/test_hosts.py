"""The hosts except `fedmkt` and `standalone` in whole small runs: as planned, and bit for bit equal after a crash."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from test_resume import Crash, crash_at, outcome
from test_resume import config as small

import lada
from lada.federation import party_cache
from lada.rounds.averaging import HOLD
from lada.rounds.base import Payload
from lada.rounds.party import SHARED_SLM, Party
from lada.rounds.reports import collect

ROUNDS = {"fedcot": 2, "fedmd": 1, "fedcollm": 2, "feddf": 2}
SHARED = ("fedcollm", "feddf")
SLOW = [pytest.param(host, marks=pytest.mark.slow) for host in ("fedcot", "feddf", "fedcollm")]


def config(host: str) -> dict[str, Any]:
    made = small(host=host, plugin="none", rounds=ROUNDS[host])
    del made["allocator"]
    if host in SHARED:
        for client in made["clients"]:
            client["model"] |= {"model": "zoo:slm-llama-small", "tune": "lora", "lora": {"rank": 2}}
    for client in made["clients"]:
        client["private"] = {"steps": 2, "batch_size": 4}  # fedmd has two studies of it
    return made


def crash_after_the_slm_has_studied(party: Party, replies: Mapping[str, Payload]) -> None:
    """Break off in round 2 where the server's studies are in its journal, and none is in a checkpoint."""
    if SHARED_SLM in replies and HOLD in party.memory:
        raise Crash
    collect(party, replies)


@pytest.mark.parametrize("host", ["fedmd", *SLOW])
def test_a_run_does_what_was_planned_and_resumes_to_the_same_bits(host: str, tmp_path: Path, monkeypatch: Any) -> None:
    plan = lada.plan(config(host))
    with monkeypatch.context() as patch:
        writes = crash_at(10**6, patch)
        results = lada.run(config(host), runs=tmp_path / "whole")
    sides = {"llm": "server", SHARED_SLM: "server"}
    found = {(p.round, sides.get(p.party, "client"), p.phase) for p in results.wall_clock.phases}
    assert found == {
        (round, step.side, step.phase)
        for rounds in plan.schedule
        for round in range(rounds.first, rounds.last + 1)
        for step in rounds.steps
        if step.verb is not None
    }
    kinds = {(row.round, row.sender, row.receiver, row.kind) for row in results.traffic}
    assert {(row.round, row.sender, row.receiver, row.kind) for row in plan.traffic} == {
        key for key in kinds if key[3] not in ("metrics", "times")
    }
    if host in SHARED:
        one, other = (party.weights for party in results.parties if party.role == "client")
        assert one == other
    with monkeypatch.context() as patch:
        if host in SHARED:
            patch.setattr("lada.hosts.shared_slm.collect", crash_after_the_slm_has_studied)
        else:
            crash_at(2 * writes[0] // 3, patch)
        with pytest.raises(Crash):
            lada.run(config(host), runs=tmp_path / "broken")
    party_cache.forget()
    assert outcome(lada.run(config(host), runs=tmp_path / "broken", resume=True)) == outcome(results)
