"""What holds of every host: the same parties say the same, in whatever order they are named."""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest
from actors import Direct, Federation, ScriptedLearner, make_party
from methods import Case, each

from lada.core.errors import InputError
from lada.core.needs import Needs
from lada.objectives.base import OBJECTIVES
from lada.rounds.base import Payload
from lada.rounds.noted import Noted
from lada.rounds.party import SHARED_SLM

KNOWS = {"llm": {0, 1, 2}, "a": {1, 3}, "b": {0, 4}, "c": {2, 3, 4}}


def said(case: Case, folder: FilePath, clients: list[str]) -> list[tuple[Any, ...]]:
    """Return all messages of two rounds; skip for options that go with no scripted learner."""
    host = case.make()
    objective = getattr(host.bare.methods.get(OBJECTIVES.kind), "name", "sft")
    asks: Needs = OBJECTIVES.get(objective).default_needs
    parties = {
        name: make_party(name, known, folder, objective=objective if asks.signal else "sft", allocator="all")
        for name, known in KNOWS.items()
    }
    server = parties["llm"]
    slm = ScriptedLearner({sample.question: "answer slm" for sample in server.task.public})
    server.open_slm = lambda: replace(
        server, name=SHARED_SLM, role="client", learner=slm, noted=Noted(), folder=folder / SHARED_SLM
    )
    exchange = Direct(host, parties["llm"], [parties[name] for name in clients])
    federation = Federation(host, parties["llm"], {name: parties[name] for name in clients}, exchange)
    try:
        federation.run(1, 2)
    except InputError as error:
        pytest.skip(str(error))
    return sorted((m.round, m.phase, m.sender, m.receiver, *without_times(m.payload)) for m in exchange.sent)


def without_times(payload: Payload) -> list[tuple[str, bytes]]:
    return sorted((kind, data) for kind, data in payload.items() if kind != "times")


@each("host")
def test_the_same_parties_say_the_same_in_whatever_order_they_are_named(case: Case, tmp_path: FilePath):
    first = said(case, tmp_path / "one", ["a", "b", "c"])
    assert first == said(case, tmp_path / "two", ["c", "a", "b"])
