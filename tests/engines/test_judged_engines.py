"""Judgements of others' paths and votes over local runs, processes, the simulation and a deployment: equal numbers."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from federations import comparable
from test_three_engines import FIRST_STARTS, lada, results, said, wait_for
from tiny_run import tiny

from lada.engines.family import free_port
from lada.engines.setup import init

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.name != "posix", reason="needs Unix sockets"),
]
METHODS: dict[str, dict[str, Any]] = {
    "on_policy": {"objective": {"name": "on_policy", "options": {"estimator": "k1"}}},
    "path_alignment": {"objective": {"name": "path_alignment", "options": {"prefer": "role", "paths": 3}}},
    "peer_review": {
        "objective": {"name": "on_policy", "options": {"estimator": "k3"}},
        "allocator": {"name": "peer_review", "options": {"threshold": 0.5}},
        "host": {"name": "fedmkt", "options": {"share_votes": True}},
    },
    "take_over": {"host": {"name": "fedmkt", "options": {"take_over": 0.5, "directions": "llm_to_slm"}}},
}
LONGEST = {"path_alignment": 48, "take_over": 48}
"""Tokens of a path: its likelihood is compared, and its answer known, only if it was not cut."""


def run(folder: Path, file: Path, runs: str, *more: str) -> dict[str, Any]:
    """Return what all engines share of a run."""
    started = lada(folder, "run", str(file), "--runs", str(folder / runs), *more)
    assert started.wait(FIRST_STARTS) == 0, (folder / "out.log").read_text()
    return comparable(results(folder / runs))


@pytest.mark.parametrize("name", METHODS)
def test_all_engines_give_the_same_numbers(tmp_path: Path, name: str):
    file, fed = tmp_path / "run.yaml", tmp_path / "fed"
    # In the second round, the LLM too learns from what others say of its paths.
    config = tiny(name="small", rounds=2, **METHODS[name])
    for party in (config["server"], *config["clients"]):
        party["model"]["max_new_tokens"] = LONGEST.get(name, 8)
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    local = run(tmp_path, file, "local", "--set", "workers=0")
    told = {(study["round"], study["party"]) for study in local["studies"] if study["phase"] == "distil"}
    if name == "take_over":
        assert any("takes over" in notice for notice in local["notices"])
    elif name != "peer_review":  # which may believe nothing of such models
        assert told == {(round, party) for round in (1, 2) for party in ("llm", "warehouse", "clinic")}
    assert run(tmp_path, file, "processes", "--set", "workers=2") == local
    assert run(tmp_path, file, "simulation", "--engine", "simulation") == local
    init(file, fed, port=free_port())
    up = lada(tmp_path, "federation", "up", str(fed))
    try:
        wait_for(lambda: said(tmp_path / "out.log", "ready: 2 clients are connected"), up, "federation up")
        deployed = ("--engine", "deployment", "--federation", str(fed / "server"))
        assert run(tmp_path, fed / "server" / "run.yaml", "deployment", *deployed) == local
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(90)
