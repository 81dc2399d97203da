"""What holds of every host: the same parties say the same, in whatever order they are named."""

import re
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest
from actors import PUBLIC, Direct, Federation, ScriptedLearner, make_party, task
from methods import Case, cases, each

from lada.core.errors import InputError
from lada.core.needs import Needs
from lada.objectives.base import OBJECTIVES
from lada.rounds.base import Payload
from lada.rounds.noted import Noted
from lada.rounds.party import SHARED_SLM
from lada.tasks.data import TaskData

KNOWS = {"llm": {0, 1, 2}, "a": {1, 3}, "b": {0, 4}, "c": {2, 3, 4}}


def run(case: Case, folder: FilePath, clients: list[str], data: TaskData | None = None) -> Direct:
    """Run two rounds; skip for options that go with no scripted learner."""
    host = case.make()
    objective = getattr(host.bare.methods.get(OBJECTIVES.kind), "name", "sft")
    asks: Needs = OBJECTIVES.get(objective).default_needs
    parties = {
        name: make_party(name, known, folder, objective=objective if asks.signal else "sft", allocator="all", data=data)
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
        host.check(server.allocator, {})
        federation.run(1, 2)
    except InputError as error:
        pytest.skip(str(error))
    return exchange


def said(case: Case, folder: FilePath, clients: list[str]) -> list[tuple[Any, ...]]:
    sent = run(case, folder, clients).sent
    return sorted((m.round, m.phase, m.sender, m.receiver, *without_times(m.payload)) for m in sent)


def without_times(payload: Payload) -> list[tuple[str, bytes]]:
    return sorted((kind, data) for kind, data in payload.items() if kind != "times")


@each("host")
def test_the_same_parties_say_the_same_in_whatever_order_they_are_named(case: Case, tmp_path: FilePath):
    first = said(case, tmp_path / "one", ["a", "b", "c"])
    assert first == said(case, tmp_path / "two", ["c", "a", "b"])


@cases("host")
def test_a_pool_without_gold_answers_works_or_is_refused_before_the_first_round(case: Case, tmp_path: FilePath):
    unlabelled = replace(task(tuple(replace(sample, answer=None) for sample in PUBLIC)), replay=())
    if told := refusal(case, unlabelled):
        assert re.match(r"host(\.options\.\w+)?: '\w+' needs .* gold answer", told)  # key, value, expectation
        assert re.search(r"(set [a-z]+: [a-z]+|choose another host)", told)  # and what to do
        assert not refusal(case, task())
    else:
        assert {message.round for message in run(case, tmp_path, ["a", "b", "c"], unlabelled).sent} == {1, 2}


def refusal(case: Case, data: TaskData) -> str:
    try:
        case.make().check_task(data)
    except InputError as refused:
        return str(refused)
    return ""
