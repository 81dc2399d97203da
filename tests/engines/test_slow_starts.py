"""The process of an app may take longer to start than Flower expects, as on a machine that is busy."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from flwr.supercore.corestate import in_memory_corestate
from flwr.supercore.corestate.in_memory_corestate import InMemoryCoreState
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from lada.engines.flower import STARTING, give_time_to_start

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch):
    """Let the time be what a test says, for Flower and for LaDa."""
    clock = SimpleNamespace(now=NOON)
    monkeypatch.setattr(in_memory_corestate, "now", lambda: clock.now)
    monkeypatch.setattr("lada.engines.flower.datetime", SimpleNamespace(now=lambda _: clock.now))
    return clock


def started(clock, after):
    """Return whether a task can become active so many seconds after its process began to start."""
    state = InMemoryNodeState(object_store=None)  # pyright: ignore
    task = state.create_task("serverapp", run_id=1)
    assert task is not None
    assert state.claim_task(task)
    assert state.claim_task(task) is None  # another process does not get it
    clock.now += timedelta(seconds=after)
    return state.activate_task(task)


def test_flower_gives_a_process_half_a_minute(clock):
    assert started(clock, 29)
    assert not started(clock, 31)


def test_a_slow_process_keeps_its_task(clock, monkeypatch):
    monkeypatch.setattr(InMemoryCoreState, "claim_task", InMemoryCoreState.claim_task)  # restored after the test
    give_time_to_start()
    assert started(clock, STARTING - 1)
    assert not started(clock, STARTING + 1)
