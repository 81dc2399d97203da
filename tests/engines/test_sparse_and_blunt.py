"""Sparse adapters and Swing over all engines: equal numbers, since what they remember and draw has an address."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from federations import comparable
from test_three_engines import FIRST_STARTS, said, wait_for
from test_three_engines import lada as command
from tiny_run import tiny

import lada
from lada.engines.family import free_port
from lada.engines.setup import init

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.name != "posix", reason="needs Unix sockets"),
]
SPARSE = {"host": {"name": "fedavg", "options": {"aggregation": "fedopt", "malicious": 0}}, "codecs": ["flasc"]}
BLUNT = {"objective": "soft_targets", "allocator": "all"}
SWING = {"name": "swing", "options": {"score": "gap", "seeded": True}}


def config(method: str) -> dict[str, Any]:
    """Return two rounds of two clients, on whose numbers the codec or the policy has an effect."""
    made = tiny(plugin="none", rounds=2, quorum=1.0, **(SPARSE if method == "flasc" else BLUNT))
    for client in made["clients"]:
        if method == "flasc":
            client["model"] |= {"model": "zoo:slm-llama", "tune": "lora"}
        else:
            client["policies"] = [SWING]
    if method == "flasc":
        del made["allocator"], made["objective"]
    return made


@pytest.fixture(scope="module", params=["flasc", "swing"])
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def local(method: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give what a run in this process comes to."""
    found = lada.run(config(method), runs=tmp_path_factory.mktemp("local"))
    if method == "swing":
        assert any("blunted" in notice for notice in found.notices)
    return comparable(found)


@pytest.mark.parametrize("engine", [{"workers": 2}, {"engine": "simulation", "workers": 1}])
def test_processes_and_a_simulation_give_the_numbers_of_one_process(
    method: str, local: Any, engine: dict[str, Any], tmp_path: Path
):
    assert comparable(lada.run(config(method) | engine, runs=tmp_path)) == local


def test_a_deployment_gives_the_numbers_of_one_process(method: str, local: Any, tmp_path: Path):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config(method)), encoding="utf-8")
    init(file, tmp_path / "fed", port=free_port())
    up = command(tmp_path, "federation", "up", str(tmp_path / "fed"))
    try:
        wait_for(lambda: said(tmp_path / "out.log", "ready: 2 clients are connected"), up, "federation up")
        server = tmp_path / "fed" / "server"
        arguments = ["--engine", "deployment", "--federation", str(server), "--runs", str(tmp_path / "deployed")]
        assert command(tmp_path, "run", str(server / "run.yaml"), *arguments).wait(FIRST_STARTS) == 0
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(90)
    assert comparable(lada.load(tmp_path / "deployed" / "tiny")) == local
