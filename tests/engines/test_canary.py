"""No private text in any byte that leaves a client over Flower's own engines; tests/test_privacy.py has the local ones.

Clients print, log and warn of a canary, raise an exception with it, and have it in the names of their folders.
"""

import os
import signal
import tempfile
import time
from pathlib import Path

import leaky_apps
import leaky_nodes
import pytest
from leaky_nodes import CANARY
from test_privacy import found_in, planted

import lada
from lada.engines import submission
from lada.engines.family import Family, free_port, python
from lada.engines.setup import init

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.name != "posix", reason="needs Unix sockets"),
]
MODULES = os.pathsep.join(str(Path(str(module.__file__)).parent) for module in (leaky_nodes, leaky_apps))


@pytest.fixture
def wire(tmp_path, monkeypatch):
    """Give the folder of all that reaches the server, and let Flower's processes find the modules of the tests."""
    folder = tmp_path / "wire"
    folder.mkdir()
    monkeypatch.setenv(leaky_apps.FOLDER, str(folder))
    monkeypatch.setenv("PYTHONPATH", MODULES)
    return folder


def files_with(text, *places):
    """Return the names of the files below some folders that hold a text in any form."""
    files = [file for place in places for file in sorted(place.rglob("*")) if file.is_file()]
    assert files
    return [file.name for file in files if found_in(file.read_bytes(), text)]


def assert_clean(wire, results, *kinds):
    """What is there is found in each kind of record, and the canary in none."""
    assert [(gone.party, gone.phase) for gone in results.missing] == [("clinic", "learn")]
    assert len(list(wire.glob("message-*"))) >= 8
    assert {name.partition("-")[0] for name in files_with("warehouse", wire)} == set(kinds)
    assert files_with(CANARY, wire) == []


def test_a_simulation_lets_no_canary_out(tmp_path, wire, monkeypatch):
    for room in ("lada.engines.server_app", "lada.engines.simulated"):
        monkeypatch.setattr(submission, "APP", submission.APP.replace(f"{room}:", "leaky_apps:"))
    results = lada.run(planted(tmp_path, engine="simulation", workers=1), runs=tmp_path / "runs")
    assert_clean(wire, results, "message")
    folder = tmp_path / "runs" / "small"
    assert CANARY in (folder / "clients" / "clinic" / "errors.log").read_text(encoding="utf-8")
    for name in ("flower.log", "events.jsonl", "ledger.parquet"):
        assert found_in((folder / name).read_bytes(), CANARY) == []


def test_a_deployment_lets_no_canary_out(tmp_path, wire):
    fed, runs, log = tmp_path / "fed", tmp_path / "runs", tmp_path / "up" / "up.log"
    init(planted(tmp_path), fed, port=free_port())
    clients = (fed / "clients").rename(tmp_path / CANARY / "clients")
    (fed / "clients").symlink_to(clients)
    with tempfile.TemporaryDirectory(prefix="t-") as temporary, Family(grace=60) as family:
        family.environment["TMPDIR"] = temporary
        process = family.start(python("leaky_deployment", "lada.engines.up", str(fed)), log)
        while "ready: 2 clients" not in log.read_text(encoding="utf-8"):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.2)
        results = lada.run(
            fed / "server" / "run.yaml", runs=runs, overrides=("engine=deployment",), federation=fed / "server"
        )
        # Of the two kinds of folders for temporary files a client's is known by its relay.
        servers = [one for one in Path(temporary).glob("lada-*") if not (one / "relay.json").exists()]
        assert files_with(CANARY, *servers) == []
        process.send_signal(signal.SIGINT)
        process.wait(300)  # each of the family may take its grace, on a machine that does other things too
    assert_clean(wire, results, "message", "request", "state.db")
    assert files_with(CANARY, fed / "server", runs, log.parent) == []
    assert {"errors.log", "worker.log", "private.jsonl"} <= set(files_with(CANARY, clients / "clinic"))
