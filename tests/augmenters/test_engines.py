"""An augmenter with an LLM behind an API over all three engines: equal samples and equal figures."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_api import FakeApi, serving
from federations import comparable
from teacher import writes
from test_runs import config
from test_three_engines import FIRST_STARTS, lada, results, said, wait_for

from lada.engines.family import free_port
from lada.engines.setup import init

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.name != "posix", reason="needs Unix sockets"),
]


def figures(folder: Path) -> dict[str, Any]:
    """Return what all engines share, without what the API took, which the cache lowers."""
    found = comparable(results(folder))
    found["notices"] = [text for text in found["notices"] if " took " not in text]
    return found


@pytest.mark.parametrize("name", ["symbolic_kd", "pgkd"])
def test_all_engines_give_the_same_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-1234567890")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(writes(every=2)) as api:
        file = tmp_path / "run.yaml"
        file.write_text(yaml.safe_dump(run(api, tmp_path, name)), encoding="utf-8")
        for engine in ("local", "simulation"):
            started = lada(tmp_path, "run", str(file), "--engine", engine, "--runs", str(tmp_path / engine))
            assert started.wait(FIRST_STARTS) == 0, (tmp_path / "out.log").read_text()
        fed = tmp_path / "fed"
        init(file, fed, port=free_port())
        up = lada(tmp_path, "federation", "up", str(fed))
        try:
            wait_for(lambda: said(tmp_path / "out.log", "ready: 2 clients are connected"), up, "federation up")
            deployed = ["--engine", "deployment", "--federation", str(fed / "server")]
            run_yaml = str(fed / "server" / "run.yaml")
            started = lada(tmp_path, "run", run_yaml, *deployed, "--runs", str(tmp_path / "deployment"))
            assert started.wait(FIRST_STARTS) == 0, (tmp_path / "out.log").read_text()
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(90)
    local = figures(tmp_path / "local")
    assert local["augmentations"][-1]["pool"] > 0
    assert figures(tmp_path / "simulation") == local
    assert figures(tmp_path / "deployment") == local


def run(api: FakeApi, folder: Path, name: str) -> dict[str, Any]:
    return config(api, folder / "cache", name, name="small")
