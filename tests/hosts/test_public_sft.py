"""Labelled public data alone: who studies what, and that nothing but numbers crosses."""

from dataclasses import replace
from pathlib import Path as FilePath

import pytest
from actors import DISTIL, PRIVATE, PUBLIC, Federation, federation, small, task
from test_run import builtin

import lada
from lada.core.errors import InputError
from lada.hosts.base import HOSTS

PLANNED = (("private", 8), ("public", 10))
KNOWS = {"llm": {0, 1}, "a": {2}, "b": set()}
EXPLAINED = tuple(replace(sample, rationale=f"why {i}") for i, sample in enumerate(PUBLIC))


def make(folder: FilePath, **options: bool) -> Federation:
    return federation(folder, "public_sft", KNOWS, options, data=task(EXPLAINED))


@pytest.mark.parametrize(("options", "text"), [({}, "why 3 answer gold3"), ({"rationales": False}, "answer gold3")])
def test_clients_study_private_data_and_everybody_the_gold_texts(
    tmp_path: FilePath, options: dict[str, bool], text: str
):
    alone = make(tmp_path, **options)
    alone.run(0)
    assert not alone.studies("llm")
    alone.run(1, 2)
    assert [each.options for each in alone.studies("llm")] == [DISTIL, DISTIL]
    for name in ("a", "b"):
        assert [each.options for each in alone.studies(name)] == [PRIVATE, DISTIL] * 2
        assert set(alone.studies(name)[0].texts()) == {f"{name}-{i}" for i in range(4)}
    for each in (alone.studies("llm")[0], alone.studies("a")[1], alone.studies("b")[3]):
        assert each.texts().keys() == {sample.id for sample in PUBLIC}
        assert each.texts()["p3"] == (text, None)
        assert not each.objective.needs.rejected
    report = alone.server.report
    assert {(e.round, e.party) for e in report.evaluations} == {(r, p) for r in range(3) for p in KNOWS}
    assert [s.phase for s in report.studies] == ["public", "private", "public", "private", "public"] * 2


def test_nothing_but_numbers_crosses(tmp_path: FilePath):
    alone = make(tmp_path)
    alone.run(0, 1)
    assert {message.phase for message in alone.exchange.sent} == {"evaluate", "study"}
    for message in alone.exchange.sent:
        assert set(message.payload) == (set() if message.sender == "llm" else {"metrics", "times"})


def test_what_it_would_study_decides_whether_it_is_refused():
    programs = replace(task(tuple(replace(sample, answer=None) for sample in PUBLIC)), verifier=object())
    programs = replace(programs, public=tuple(replace(sample, rationale="print()") for sample in programs.public))
    HOSTS.make("public_sft", {}).check_task(programs)
    with pytest.raises(
        InputError, match="host: 'public_sft' needs public samples with gold answers, but none of the 5"
    ):
        HOSTS.make("public_sft", {"rationales": False}).check_task(programs)


def test_a_whole_run(tmp_path: FilePath):
    host = {"name": "public_sft", "options": {"rationales": False}}
    results = lada.run(small(builtin(host=host)), runs=tmp_path)
    assert {(s.party, s.phase, s.lessons) for s in results.studies} == {
        ("llm", "public", 10),
        *((client, phase, count) for client in ("warehouse", "clinic") for phase, count in PLANNED),
    }
    assert {row.kind for row in results.traffic} == {"metrics", "times"}
    told, *others = results.notices
    assert told == "host 'public_sft' has no lessons for an allocator to choose: 'lada_paper' has no effect"
    assert all(
        ": answers cut at model.max_new_tokens, 16, " in each for each in others
    )  # the models are hardly trained
