"""One list of steps is told, checked and run: whatever one of the three says, the others do."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path as FilePath
from typing import Any

import pytest
from actors import Federation, federation, make, make_party

from lada.core.errors import FederationError
from lada.hosts.base import HOSTS, Host
from lada.objectives.base import OBJECTIVES
from lada.rounds.base import Ask, Receive, Slot, Step, Turn
from lada.rounds.engine import by_phase, schema

KNOWS: dict[str, set[int]] = {"llm": {0, 1}, "a": {1, 2}, "b": {2, 3}}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "fedmkt": [
        {"directions": directions, "knowledge": knowledge, "trust": trust, "private_rounds": 1}
        for directions, knowledge, trust in product(
            ("both", "llm_to_slm", "slm_to_llm"), ("paths", "labels"), ("auto", "off")
        )
    ]
    + [{"trust": "gain"}, {"average_adapters": True}, {"average_adapters": True, "directions": "llm_to_slm"}],
    "fedavg": [{}, {"form": "hetlora"}, {"secure_aggregation": True, "malicious": 0, "clip": None}],
    "fedcot": [{}, {"labels": "llm"}],
    "fedmd": [{}, {"llm_member": False}],
    "public_sft": [{}, {"rationales": False}],
}


def every_host() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in HOSTS.names():
        for options in OPTIONS.get(name, [{}]):
            yield name, options


def host(name: str, options: dict[str, Any]) -> Host:
    method = HOSTS.get(name)
    return method.make(method.options.model_validate(options))


@pytest.mark.parametrize(("name", "options"), list(every_host()))
@pytest.mark.parametrize("objective", ["sft", "soft_targets"])
def test_what_is_expected_to_be_sent_is_what_may_be_sent(name: str, options: dict[str, Any], objective: str):
    if objective == "sft" and name in ("fedmd", "feddf", "fedcollm"):
        return  # these refuse it
    for number in range(4):
        steps = host(name, options).round(number, make(OBJECTIVES, objective))
        phases = schema(steps)
        assert len(phases) == sum(isinstance(each, Ask) for each in steps)  # no phase twice
        for asked, done in by_phase(steps):
            replies = phases[asked.phase].replies
            assert replies.required | replies.optional >= {kind for each in done for kind in each.sends}
        sent = {kind for each in steps if isinstance(each, Step) and each.side == "server" for kind in each.sends}
        assert sent <= {kind for phase in phases.values() for kind in phase.asks.required | phase.asks.optional}


@pytest.mark.parametrize(("name", "options"), list(every_host()))
def test_clients_act_within_a_phase_and_every_phase_they_report_in_is_heard(name: str, options: dict[str, Any]):
    for number in (0, 1, 2):
        steps = host(name, options).round(number, make(OBJECTIVES, "soft_targets"))
        first = next(i for i, each in enumerate(steps) if isinstance(each, Ask))
        assert all(isinstance(each, Step) and each.side == "server" for each in steps[:first])
        assert all(each for _, each in by_phase(steps))
        reporting = sum("metrics" in phase.replies.required for phase in schema(steps).values())
        pooling = sum("samples" in phase.replies.required for phase in schema(steps).values())
        assert sum(isinstance(each, Receive) for each in steps) == reporting + pooling
        assert isinstance(steps[-1], Receive) or (isinstance(steps[-1], Step) and not steps[-1].is_told)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fedmkt", {}),
        ("fedmkt", {"directions": "llm_to_slm"}),
        ("fedmkt", {"directions": "slm_to_llm"}),
        ("fedmkt", {"private_rounds": 1}),
        ("fedcot", {}),
        ("standalone", {}),
        ("public_sft", {}),
        ("centralized", {}),
    ],
)
def test_what_is_told_is_what_is_done(tmp_path: FilePath, name: str, options: dict[str, Any]):
    """Each phase of time that a run has is a step of the plan, and each study of the plan took place."""
    both: Federation = federation(tmp_path, name, KNOWS, options)
    both.run(0, 1, 2)
    times = both.server.report.phases
    for number in (0, 1, 2):
        plan = [step for step in both.host.plan(number, both.server.objective) if step.verb is not None]
        for side, party in (("server", "llm"), ("client", "a")):
            told = {step.phase for step in plan if step.side == side}
            done = {time.phase for time in times if (time.party, time.round) == (party, number)}
            assert done <= told
            assert {s.phase for s in plan if s.side == side and s.samples == "private"} <= done


def test_a_slot_that_no_step_filled_says_whose(tmp_path: FilePath):
    turn, slot = Turn(make_party("a", {0}, tmp_path), 1), Slot[int]("number")
    with pytest.raises(LookupError, match=r"no earlier step of a left its number"):
        turn[slot]
    turn[slot] = 3
    assert turn[slot] == 3
    with pytest.raises(LookupError, match=r"a is a client and asks no other party"):
        _ = turn.exchange


def test_a_phase_of_another_round_is_refused(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", KNOWS)
    with pytest.raises(FederationError, match=r"phase: round 0 has no phase 'learn'"):
        both.host.reply("learn", both.clients["a"], 0, {})
