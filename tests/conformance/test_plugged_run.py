"""One small run in which every kind of plug-in takes part, each from its own file outside the package."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import warm
import yaml
from own_methods import EXAMPLES
from tiny_run import tiny

from lada.core.arrays import bytes_to_arrays
from lada.federation.parties import STATE

BY_OPTION = ("fair", "keep")
"""Files that the command line names; the environment names the others."""


def config() -> dict[str, Any]:
    """Return a run in which a parrot teaches two clients and learns from them."""
    client = {
        "withhold": None,  # else the policy is asked again for paths that are sampled in the place of others
        "policies": ["thrift"],
        "hooks": ["slower"],
        "objective": ["label_smoothing", {"name": "two_depths", "weight": 0.5}, "risk_variance"],
    }
    made = tiny(
        rounds=2,
        plugin="none",
        host={"name": "fedmkt", "options": {"knowledge": "paths", "average_adapters": True, "aggregation": "keep"}},
        fuser="fair",
        codecs=["int8_adapter"],
    )
    made["server"] |= {"model": {"learner": "parrot"}}
    for each in made["clients"]:
        each |= client
        each["model"] |= {"model": "zoo:slm-llama-small", "tune": "lora"}
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the run."""
    work = tmp_path_factory.mktemp("plugged")
    (work / "run.yaml").write_text(yaml.safe_dump(config()), encoding="utf-8")
    others = os.pathsep.join(str(file) for name, file in EXAMPLES.items() if name not in BY_OPTION)
    options = [part for name in BY_OPTION for part in ("--plugin", str(EXAMPLES[name]))]
    done = warm.run("-m", "lada", "run", "run.yaml", *options, cwd=work, env={**os.environ, "LADA_PLUGINS": others})
    assert done.returncode == 0, done.stdout + done.stderr
    return work / "runs" / "tiny"


def test_each_kind_of_plug_in_has_its_part_in_the_run(folder: Path):
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert {party["name"]: party["model"] for party in results["parties"]}["llm"] == "parrot"
    assert not results["missing"]
    notices = "\n".join(results["notices"])
    for each in ("clinic", "warehouse"):
        assert f"round 1: {each} tells 6" in notices  # the policy
        assert f"round 2: {each} tells 5" in notices
    assert {study["round"] for study in results["studies"] if study["party"] == "llm"} == {1, 2}
    assert not any(study.get("skipped") for study in results["studies"])


def test_what_each_remembers_is_in_the_checkpoints(folder: Path):
    states = {}
    for file in sorted(folder.rglob(STATE)):
        states |= bytes_to_arrays(file.read_bytes())
    told = {name: int(states[name]) for name in states if name.endswith(("|rounds", "|studies", "|count"))}
    assert told["aggregator/keep/run|count"] == 2
    for each in ("clinic", "warehouse"):
        assert told[f"policy/thrift/{each}|rounds"] == 2
        assert told[f"hook/slower/{each}|studies"] >= 2
    starts = {name.partition("|")[0].rpartition("/")[0] for name in states}
    assert starts >= {"fuser/fair", "codec/int8_adapter", "objective/weighted"}
