"""How long a run takes, by hand."""

from types import SimpleNamespace
from typing import Any

import pytest

from lada.planning import speed, times
from lada.planning.plan import PartyPlan, PlannedStep, RoundPlan, StudyPlan

SPEED = 1e9
"""Floating-point operations per second."""


@pytest.fixture(autouse=True)
def _known_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "flops", lambda device, dtype: SPEED)


def party(role: str, name: str, trainable: int = 1000) -> PartyPlan:
    """A model of 1000 parameters whose prompts have 10 tokens and paths 30; it studies 2 steps of 8 paths."""
    study = StudyPlan(phase="distil", steps=2, batch_size=8, micro_batch_size=4, tokens=480)
    memory: Any = SimpleNamespace(parameters=1000, trainable=trainable)
    return PartyPlan.model_construct(
        name=name, role=role, private=5, studies=(study,), prompt=10, mean=30.0, memory=memory
    )


def demand(name: str, device: str = "cpu") -> Any:
    return SimpleNamespace(
        name=name,
        device=device,
        lengths=None,
        options=SimpleNamespace(dtype="float32", batch_size=50),
        trace=lambda *_: SimpleNamespace(layers=4),
    )


def step(side: str, verb: str | None, samples: str = "public", phase: str = "distil") -> PlannedStep:
    return PlannedStep(side=side, phase=phase, verb=verb, samples=samples, sends=())


def expected(*steps: PlannedStep, first: int = 1, last: int = 1, device: str = "cpu", **trained: int) -> dict[str, Any]:
    parties = [party("server", "llm"), party("client", "a", **trained), party("client", "b")]
    schedule = [RoundPlan(first=first, last=last, steps=steps)]
    counts = {"public": 100, "test": 200}
    found = times.party_times(parties, schedule, counts, [demand("llm", device), demand("a", device)])
    return {time.party: (time.studying, time.answering, time.reading) for time in found}


def test_each_verb_takes_its_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "flops", lambda device, dtype: 1e6)
    steps = (step("client", "study", "lessons"), step("client", "answer", "test"), step("client", "judge"))
    found = expected(*steps, step("client", None))
    # 16 paths of 40 tokens, 6 operations per parameter; 200 and 100 samples of 40 tokens, 2 operations.
    assert found == {
        "llm": (0.0, 0.0, 0.0),
        "a": (round(640 * 6000 / 0.5e6, 1), round(8000 * 2000 / 0.2e6, 1), round(4000 * 2000 / 0.5e6, 1)),
    }
    assert expected(*steps, trainable=0)["a"][0] == round(640 * 4000 / 0.5e6, 1)


def test_the_server_reads_the_paths_of_each_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "flops", lambda device, dtype: 1e6)
    once = expected(step("server", "judge"), step("server", "answer"))["llm"]
    assert once == (0.0, round(4000 * 2000 / 0.2e6, 1), round(2 * 4000 * 2000 / 0.5e6, 1))
    assert expected(step("server", "answer"), first=2, last=4)["llm"][1] == 3 * once[1]


def test_an_accelerator_takes_no_less_than_its_launches() -> None:
    steps = (step("client", "study", "lessons"), step("client", "answer", "test"))
    # 2 steps of 2 micro-batches, forward and twice as much backward; 4 batches of 30 tokens; 4 layers each.
    launches = (3 * 2 * 2 * 4 * times.LAUNCH, 4 * 30 * 4 * times.LAUNCH)
    assert expected(*steps, device="cuda:0")["a"] == (*(round(seconds, 1) for seconds in launches), 0.0)


def test_the_speed_is_that_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.0, 2.5])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(speed, "TRIES", 2)
    speed.flops.cache_clear()
    assert speed.flops("cpu", "float32") == 2 * speed.SIZES["cpu"] ** 3 / 0.5
    speed.flops.cache_clear()
