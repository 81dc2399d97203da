"""Runs that do the same work: one of them does it, and all have the bits of a run that did everything itself."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from test_resume import config as lada_config
from test_resume import outcome

import lada
from lada.federation import checkpoints, party_cache
from lada.federation.shared_cache import SharedCache
from lada.models.load import load
from lada.models.options import ModelOptions
from lada.zoo.shipped import locate

CLIENTS = {"clinic", "warehouse"}
BEGINNING = {(name, 0, "evaluate") for name in (*CLIENTS, "llm")} | {("llm", 1, "answer")}
FIRST = BEGINNING | {(name, 1, phase) for name in CLIENTS for phase in ("private", "answer")}
"""What a party does before it hears of another: the same for every method of a kind."""
OTHER = {"allocator": {"name": "all"}, "objective": {"name": "sft"}}


def config(**changes: Any) -> dict:
    """Return a small run in which the LLM learns something."""
    return lada_config(**changes) | {"allocator": {"name": "winner"}}


def run(where: Path, config: dict, common: Path | None = None) -> tuple[dict, dict[tuple[str, int, str], float]]:
    """Return what a run came to, traffic included, and the seconds of what it took by party, round and phase."""
    results = lada.run(config, runs=where, common=common)
    events = [json.loads(line) for line in (where / "small/events.jsonl").read_text().splitlines()]
    found = [event for event in events if event["kind"] == "taken"]
    assert all(event.keys() == {"time", "kind", "party", "round", "phase", "seconds"} for event in found)
    taken = {(e["party"], e["round"], e["phase"]): e["seconds"] for e in found}
    worked = {(e["party"], e["round"], e["phase"]) for e in events if e["kind"] == "phase"}
    timed = {(phase.party, phase.round, phase.phase) for phase in results.wall_clock.phases}
    assert worked | taken.keys() == timed
    assert not worked & taken.keys()
    return outcome(results) | {"traffic": results.model_dump(mode="json")["traffic"]}, taken


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[dict, Path]:
    """What a run of LaDa came to, and the folder in which it left its work for others."""
    folder = tmp_path_factory.mktemp("first")
    done, taken = run(folder, config(), folder / "common")
    assert taken == {}
    return done, folder / "common"


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    """What a run of another method came to that knew of no other run."""
    done, taken = run(tmp_path_factory.mktemp("alone"), config() | OTHER)
    assert taken == {}
    return done


@pytest.fixture
def common(first, tmp_path) -> Path:
    """That folder, for one test to add to."""
    return shutil.copytree(first[1], tmp_path / "common")


def test_the_first_run_ends_as_if_there_were_no_others(first, tmp_path):
    assert run(tmp_path, config())[0] == first[0]


def test_the_same_run_again_takes_all_but_what_depends_on_a_method(first, common, tmp_path):
    again, taken = run(tmp_path, config(), common)
    assert again == first[0]
    # The LLM learns in the first round alone, and is what it was in the second.
    counts = Counter(phase for _, _, phase in taken)
    assert counts == {"evaluate": 3 * 3 - 1, "private": 2 * 2, "answer": 2 * 2 + 1, "answer-anew": 1}
    assert min(taken.values()) > 0


def test_another_method_takes_what_comes_before_it_and_ends_as_it_does_alone(alone, common, tmp_path):
    shared, taken = run(tmp_path, config() | OTHER, common)
    assert taken.keys() == FIRST
    assert shared == alone


@pytest.mark.parametrize(
    ("part", "change", "redone"),
    [
        ("model", {"max_new_tokens": 23}, {(0, "evaluate"), (1, "private"), (1, "answer")}),
        ("private", {"batch_size": 5}, {(1, "private"), (1, "answer")}),
    ],
)
def test_what_another_learner_or_another_study_did_is_not_taken(common, tmp_path, part, change, redone):
    other: dict[str, Any] = config(rounds=1) | OTHER
    clinic = next(client for client in other["clients"] if client["name"] == "clinic")
    clinic[part] |= change
    _, taken = run(tmp_path, other, common)
    assert taken.keys() == FIRST - {("clinic", *each) for each in redone}


def test_nothing_is_taken_with_another_seed_whose_questions_are_others(common, tmp_path):
    assert run(tmp_path, config(seed=1, rounds=1) | OTHER, common)[1] == {}


def test_what_was_taken_is_in_the_journal_of_a_run_that_is_stopped(alone, common, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("lada.rounds.outline.distil", _stop)
        with pytest.raises(KeyboardInterrupt):
            lada.run(config() | OTHER, runs=tmp_path, common=common)
    shutil.rmtree(common)
    party_cache.forget()
    results = lada.run(config() | OTHER, runs=tmp_path, resume=True)
    assert outcome(results) == {key: value for key, value in alone.items() if key != "traffic"}


def _stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_learners_are_told_apart_by_weights_and_options():
    def digest(**options: object) -> str | None:
        told = ModelOptions.model_validate({"model": "zoo:slm-llama-small", **options})
        return load(locate(told.model), told, init_seed=0).digest()

    assert digest() == digest()
    assert len({digest(), digest(batch_size=7), digest(prompt="{question} :"), digest(tune="lora")}) == 4
    learner = load(locate("zoo:slm-llama-small"), ModelOptions(model="zoo:slm-llama-small"))
    next(learner.model.parameters()).data[0, 0] += 1e-3
    assert learner.digest() != digest()


def entry(text: str):
    return checkpoints.files({"text": text.encode()})


def test_an_entry_is_there_as_it_was_first_written_and_nothing_else(tmp_path):
    common = SharedCache(tmp_path / "common")
    assert common.load("key") is None
    common.save("key", entry("one"))
    common.save("key", entry("two"))
    found = common.load("key")
    assert found is not None
    assert (found / "text").read_text() == "one"
    assert [path.name for path in (tmp_path / "common").iterdir()] == ["key"]


def test_who_comes_second_while_an_entry_is_written_loses_nothing(tmp_path):
    common = SharedCache(tmp_path)

    def slow(folder: Path) -> None:
        entry("slow")(folder)
        common.save("key", entry("fast"))

    common.save("key", slow)
    found = common.load("key")
    assert found is not None
    assert (found / "text").read_text() == "fast"


def test_an_entry_that_is_spoilt_or_could_not_be_written_is_none(tmp_path):
    common = SharedCache(tmp_path)

    def full(folder: Path) -> None:
        raise OSError("no space left")

    common.save("full", full)
    assert common.load("full") is None
    common.save("spoilt", entry("one"))
    (tmp_path / "spoilt" / "text").write_text("two")
    assert common.load("spoilt") is None
    assert [path.name for path in tmp_path.iterdir()] == ["spoilt"]
