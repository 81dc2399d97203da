"""The benchmark for a GPU goes all its ways without one, and says so where it is asked to measure."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


def call(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(root / "benchmarks" / "gpu.py"), *arguments]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=hidden)


@pytest.mark.slow
def test_without_cuda_it_measures_nothing(root: Path, tmp_path: Path):
    ended = call(root, "--out", str(tmp_path / "out"))
    assert ended.returncode == 2
    assert "PyTorch finds no CUDA device on this machine, so nothing is measured" in ended.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_all_ways_run_with_a_model_of_nothing(root: Path, tmp_path: Path):
    sizes = ["--rows", "4", "--batches", "2", "--prompt", "16", "--completion", "12", "--repeats", "1"]
    ended = call(root, "--device", "cpu", "--shapes", "tiny", *sizes, "--out", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    told = json.loads((tmp_path / "figures.json").read_text())
    assert (told["device"], told["packages"]["torch"]) == ("CPU", torch.__version__)
    rows = {(row["verb"], row["way"]): row for row in told["rows"]}
    assert {("study", "LaDa"), ("answer", "LaDa"), ("answer", "transformers generate")} <= rows.keys()
    for row in rows.values():
        assert "failed" not in row
        assert row["tokens a second"] > 0
    assert rows["study", "LaDa"]["planned"] > rows["answer", "LaDa"]["planned"] > 0
    assert "| tiny | study | LaDa |" in (tmp_path / "README.md").read_text()
