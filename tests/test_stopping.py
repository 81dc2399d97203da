"""A run that is asked to end says how to go on, leaves nothing behind but its folder, and goes on later."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import warm
import yaml
from test_resume import children, config, outcome

import lada
from lada.core.signals import Terminated, ended_by_signal, exit_code, uninterrupted

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")


def events(folder: Path) -> list[dict]:
    file = folder / "small" / "events.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def stop(folder: Path, number: signal.Signals, phase: str) -> list[int]:
    """Start a run, send it a signal as soon as a client has begun a phase, and return its exit code and processes."""
    command = "-m", "lada", "run", folder / "run.yaml", "--runs", folder
    process = warm.start(*command, log=folder / "out.log", cwd=folder)
    deadline = time.monotonic() + 200
    while not any(event["kind"] == "message" and event["phase"] == phase for event in events(folder)):
        assert process.poll() is None, (folder / "out.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    its = children(process.pid)
    process.send_signal(number)
    return [process.wait(120), *its]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # whoever has to reap it is no part of the run
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("number", "code", "rounds", "phase"),
    [
        pytest.param(signal.SIGTERM, 143, 0, "evaluate", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, 1, "learn", marks=pytest.mark.slow),
    ],
)
def test_a_first_signal_ends_a_run_which_then_goes_on_to_the_same_bits(tmp_path, number, code, rounds, phase):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config(workers=1, rounds=rounds)), encoding="utf-8")
    folder = tmp_path / "small"
    told = f"stopped; to resume: lada run {folder.resolve()} --resume"
    ended, *its = stop(tmp_path, number, phase)
    assert ended == code
    assert (tmp_path / "out.log").read_text().rstrip().endswith(told)
    assert its
    assert not any(psutil.pid_exists(pid) for pid in its)
    assert not (folder / ".lock").exists()
    assert events(tmp_path)[-1] | {"time": 0} == {"kind": "end", "status": "stopped", "time": 0}
    resumed = lada.run(folder, resume=True, overrides=("workers=0",))
    assert outcome(resumed) == outcome(lada.run(config(rounds=rounds), runs=tmp_path / "whole"))


def test_kill_9_leaves_no_process_and_what_goes_on_to_the_same_bits(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config(workers=1, rounds=0)), encoding="utf-8")
    ended, *its = stop(tmp_path, signal.SIGKILL, "evaluate")
    assert ended == -signal.SIGKILL
    assert its
    while not all(gone(pid) for pid in its):
        time.sleep(0.02)
    resumed = lada.run(tmp_path / "small", resume=True, overrides=("workers=0",))
    assert outcome(resumed) == outcome(lada.run(config(rounds=0), runs=tmp_path / "whole"))


def test_sigterm_is_an_interrupt_with_an_exit_code_of_its_own_and_only_for_as_long_as_asked():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as stopped, ended_by_signal():
        signal.raise_signal(signal.SIGTERM)
    assert (exit_code(stopped.value), exit_code(KeyboardInterrupt())) == (143, 130)
    assert signal.getsignal(signal.SIGTERM) is before


def test_tidying_up_is_not_interrupted_and_what_it_starts_can_be_ended():
    with ended_by_signal():
        with uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            child = subprocess.Popen(["sleep", "600"])
            child.terminate()
            assert child.wait(30) == -signal.SIGTERM
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
