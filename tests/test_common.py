"""Runs that do the same work: one of them does it, and all have the bits of a run that did everything itself."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from test_resume import config, outcome

import lada
from lada.core.results import PhaseTime, Results
from lada.federation import checkpoints
from lada.federation.common import Common
from lada.models.identity import learner_digest
from lada.models.load import load
from lada.models.options import ModelOptions
from lada.zoo.shipped import locate

CLIENTS = {"clinic", "warehouse"}
BEGINNING = {(name, 0, "evaluate") for name in (*CLIENTS, "llm")} | {("llm", 1, "answer")}
FIRST = BEGINNING | {(name, 1, phase) for name in CLIENTS for phase in ("private", "answer")}
"""What a party does before it hears of another: the same for every method of a kind."""
OTHER = {"allocator": {"name": "all"}, "objective": {"name": "sft"}}


def where(phase: PhaseTime) -> tuple[str, int, str]:
    return phase.party, phase.round, phase.phase


def taken(results: Results) -> set[tuple[str, int, str]]:
    return {where(phase) for phase in results.wall_clock.phases if phase.taken}


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Results, Path]:
    """A run of LaDa, and the folder in which it left its work for others."""
    folder = tmp_path_factory.mktemp("first")
    return lada.run(config(), runs=folder, common=folder / "common"), folder / "common"


@pytest.fixture
def common(first, tmp_path) -> Path:
    """That folder, for one test to add to."""
    return shutil.copytree(first[1], tmp_path / "common")


def test_the_first_run_does_everything_itself_as_if_there_were_no_others(first, tmp_path):
    assert taken(first[0]) == set()
    assert outcome(first[0]) == outcome(lada.run(config(), runs=tmp_path))


def test_the_same_run_again_takes_all_but_what_depends_on_a_method(first, common, tmp_path):
    again = lada.run(config(), runs=tmp_path, common=common)
    assert outcome(again) == outcome(first[0])
    own = {where(phase) for phase in again.wall_clock.phases} - taken(again)
    assert {phase for _, _, phase in own} == {"embed", "judge", "distil"}
    seconds = {where(phase): phase.seconds for phase in first[0].wall_clock.phases}
    assert all(phase.seconds == seconds[where(phase)] for phase in again.wall_clock.phases if phase.taken)


def test_another_method_takes_what_comes_before_it_and_ends_as_it_does_alone(common, tmp_path):
    shared = lada.run(config() | OTHER, runs=tmp_path / "shared", common=common)
    assert taken(shared) == FIRST
    assert outcome(shared) == outcome(lada.run(config() | OTHER, runs=tmp_path / "alone"))


@pytest.mark.parametrize(
    ("part", "change", "redone"),
    [
        ("model", {"max_new_tokens": 23}, {(0, "evaluate"), (1, "private"), (1, "answer")}),
        ("private", {"batch_size": 5}, {(1, "private"), (1, "answer")}),
    ],
)
def test_what_another_learner_or_another_study_did_is_not_taken(common, tmp_path, part, change, redone):
    other: dict[str, Any] = config() | OTHER
    clinic = next(client for client in other["clients"] if client["name"] == "clinic")
    clinic[part] |= change
    told = taken(lada.run(other, runs=tmp_path, common=common))
    assert told == FIRST - {("clinic", *each) for each in redone}


def test_nothing_is_taken_with_another_seed_whose_questions_are_others(common, tmp_path):
    assert taken(lada.run(config(seed=1) | OTHER, runs=tmp_path, common=common)) == set()


def test_learners_are_told_apart_by_weights_and_options():
    def digest(**options: object) -> str | None:
        told = ModelOptions.model_validate({"model": "zoo:slm-llama-small", **options})
        return learner_digest(load(locate(told.model), told, init_seed=0))

    assert digest() == digest()
    assert len({digest(), digest(batch_size=7), digest(prompt="{question} :"), digest(tune="lora")}) == 4
    learner = load(locate("zoo:slm-llama-small"), ModelOptions(model="zoo:slm-llama-small"))
    next(learner.model.parameters()).data[0, 0] += 1e-3
    assert learner_digest(learner) != digest()


def entry(text: str):
    return checkpoints.files({"text": text.encode()})


def test_an_entry_is_there_as_it_was_first_written_and_nothing_else(tmp_path):
    common = Common(tmp_path / "common")
    assert common.load("key") is None
    common.save("key", entry("one"))
    common.save("key", entry("two"))
    found = common.load("key")
    assert found is not None
    assert (found / "text").read_text() == "one"
    assert [path.name for path in (tmp_path / "common").iterdir()] == ["key"]


def test_who_comes_second_while_an_entry_is_written_loses_nothing(tmp_path):
    common = Common(tmp_path)

    def slow(folder: Path) -> None:
        entry("slow")(folder)
        common.save("key", entry("fast"))

    common.save("key", slow)
    found = common.load("key")
    assert found is not None
    assert (found / "text").read_text() == "fast"


def test_an_entry_that_is_spoilt_or_could_not_be_written_is_none(tmp_path):
    common = Common(tmp_path)

    def full(folder: Path) -> None:
        raise OSError("no space left")

    common.save("full", full)
    assert common.load("full") is None
    common.save("spoilt", entry("one"))
    (tmp_path / "spoilt" / "text").write_text("two")
    assert common.load("spoilt") is None
    assert [path.name for path in tmp_path.iterdir()] == ["spoilt"]
