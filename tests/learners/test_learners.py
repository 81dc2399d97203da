"""Kinds of learners: how a configuration names them, and one that somebody else wrote."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import warm

from lada.config import make_config
from lada.core.errors import InputError
from lada.core.terms import Verb
from lada.learners.api import Api
from lada.learners.base import LEARNERS, OtherModel, opener
from lada.learners.hugging_face import HuggingFace
from lada.models.api_options import ApiModel
from lada.models.learners import LearnerOptions
from lada.models.options import ModelOptions

PARROT = Path(__file__).parent / "parrot.py"
RUN = """
import json, sys
from pathlib import Path
import lada
config, runs = json.loads(sys.argv[1]), Path(sys.argv[2])
results = lada.run(config, runs=runs)
lada.run({**config, "name": "halved", "rounds": 1}, runs=runs)
again = lada.run({**config, "name": "halved"}, runs=runs, resume=True)
print(json.dumps([r.model_dump(mode="json") for r in (results, again)]))
"""


def config(**changes: Any) -> dict[str, Any]:
    """Return a run in which a parrot is server and client."""
    parrot = {"learner": "parrot", "options": {}}
    return {
        "rounds": 2,
        "workers": 0,
        "plugin": "none",
        "host": {"name": "fedmkt", "options": {"knowledge": "paths", "trust": "off"}},
        "allocator": "verified",
        "objective": "sft",
        "task": {"kind": "rulebooks", "public": 8, "private": 8, "test_per_domain": 2, "replay": 2},
        "server": {"model": parrot},
        "clients": [{"name": name, "domains": [name], "model": parrot} for name in ("warehouse", "clinic")],
        **changes,
    }


def test_the_packages_own_are_opened_by_the_form_of_the_model() -> None:
    assert LEARNERS.names() == ["api", "cnn", "graph", "hugging_face", "mlp", "two_tower"]
    local, remote = (
        ModelOptions(model="zoo:slm-llama"),
        ApiModel.model_validate({"api": {"model": "m", "base_url": "http://a/v1"}}),
    )
    assert type(opener(local)) is HuggingFace
    assert type(opener(remote)) is Api
    by_name = OtherModel(learner="hugging_face", options={"model": "zoo:slm-llama", "verbs": ["answer"]})
    assert type(opener(by_name)) is HuggingFace
    assert (by_name.source, by_name.able, by_name.remote) == ("zoo:slm-llama", {Verb.ANSWER}, False)
    assert by_name.limited_by == "model.verbs"
    assert by_name.texts == ("{question}\n", "")
    assert (local.remote, remote.remote, remote.source) == (False, True, None)


def test_a_learner_says_by_default_that_it_can_do_everything_and_lies_in_no_files() -> None:
    options = LearnerOptions()
    assert (options.able, options.remote, options.source, options.texts) == (frozenset(Verb), False, None, ())


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"learner": "hugging_fase"}, "learner: unknown name 'hugging_fase'.*did you mean 'hugging_face'"),
        ({"learner": "hugging_face", "options": {"modle": "x"}}, r"server\.model\.options\.modle: .*'model'"),
        ({"learner": "hugging_face", "option": {}}, r"server\.model\.option: unknown key .*'options'"),
    ],
)
def test_a_wrong_name_or_option_is_told_by_its_key(model: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        make_config(config(server={"model": model}, clients=[{"name": "one", "model": {"model": "zoo:slm-llama"}}]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return the results of a run of parrots, and those of one that was resumed after a round."""
    environment = {**os.environ, "LADA_PLUGINS": str(PARROT)}
    done = warm.run("-c", RUN, json.dumps(config()), tmp_path_factory.mktemp("runs"), env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_learner_of_a_plug_in_takes_part_in_a_run(runs: list[dict[str, Any]]) -> None:
    results = runs[0]
    assert {party["name"]: (party["model"], party["architecture"]) for party in results["parties"]} == dict.fromkeys(
        ("clinic", "llm", "warehouse"), ("parrot", "Parrot")
    )
    assert {study["phase"] for study in results["studies"]} >= {"private"}
    assert not results["missing"]


def test_it_goes_on_from_what_it_saved(runs: list[dict[str, Any]]) -> None:
    first, again = runs
    assert again["evaluations"] == first["evaluations"]
    assert again["parties"] == first["parties"]
