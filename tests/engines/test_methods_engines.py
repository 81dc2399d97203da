"""Methods that remember, draw or write questions, over all engines: equal numbers, since all of that has an address."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_api import serving
from federations import comparable
from teacher import writes
from test_three_engines import FIRST_STARTS, said, wait_for
from test_three_engines import lada as command
from tiny_run import tiny

import lada
from lada.core.results import Results
from lada.engines.family import free_port
from lada.engines.setup import init

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.name != "posix", reason="needs Unix sockets"),
]
SWING = {"name": "swing", "options": {"score": "gap", "seeded": True}}
METHODS: dict[str, dict[str, Any]] = {
    "flasc": {"host": {"name": "fedavg", "options": {"aggregation": "fedopt", "malicious": 0}}, "codecs": ["flasc"]},
    "swing": {"objective": "soft_targets"},
    "pgkd": {
        "host": "fedcot",
        "augmenter": {"name": "pgkd", "options": {"new": 4, "per_call": 2, "validation": 0.25, "probed": 3}},
    },
    "symbolic_kd": {
        "host": "fedcot",
        "augmenter": {"name": "symbolic_kd", "options": {"new": 4, "calibration": 8, "shots": 2, "recall": 1.0}},
    },
}


def config(method: str, address: str) -> dict[str, Any]:
    """Return two rounds of two clients, on whose numbers the method has an effect; `address` is that of an LLM."""
    made = tiny(plugin="none", rounds=2, quorum=1.0, **METHODS[method])
    if method == "flasc":
        del made["allocator"], made["objective"]
        for client in made["clients"]:
            client["model"] |= {"model": "zoo:slm-llama", "tune": "lora"}
    elif method == "swing":
        for client in made["clients"]:
            client["policies"] = [SWING]
    else:
        made["task"] |= {"public": 16}
        made["server"]["model"] = {"api": {"base_url": address, "model": "big", "key_variable": None}}
    return made


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Give the address of an LLM that writes questions, and answers half of them rightly."""
    with pytest.MonkeyPatch.context() as patch, serving(writes(every=2)) as api:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield api.url


@pytest.fixture(scope="module", params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def local(method: str, address: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give what a run in this process comes to."""
    found = lada.run(config(method, address), runs=tmp_path_factory.mktemp("local"))
    if method == "swing":
        assert any("blunted" in notice for notice in found.notices)
    if "augmenter" in METHODS[method]:
        assert found.augmentations[-1].kept  # in the last round, since PGKD waits for outcomes of the first
    return shared(found)


def shared(results: Results) -> dict[str, Any]:
    """Return what all engines share, without how long an LLM took."""
    data = comparable(results)
    return data | {"notices": [text for text in data["notices"] if " took " not in text]}


@pytest.mark.parametrize("engine", [{"workers": 2}, {"engine": "simulation", "workers": 1}])
def test_processes_and_a_simulation_give_the_numbers_of_one_process(
    method: str, address: str, local: Any, engine: dict[str, Any], tmp_path: Path
):
    assert shared(lada.run(config(method, address) | engine, runs=tmp_path)) == local


def test_a_deployment_gives_the_numbers_of_one_process(method: str, address: str, local: Any, tmp_path: Path):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config(method, address)), encoding="utf-8")
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
    assert shared(lada.load(tmp_path / "deployed" / "tiny")) == local
