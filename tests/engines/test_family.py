"""Whatever a family has started ends with it, also what has left its parent."""

import os
import shutil
import stat
import subprocess
import sys
import time

import psutil
import pytest

from lada.core.errors import FederationError
from lada.engines.family import Family, flower, free_port, wait_for_port

DETACHES = """
import subprocess, sys, time
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
print(child.pid, flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr("lada.engines.family.GRACE", 0.5)


def lines(log, count):
    while not log.exists() or log.read_text().count("\n") < count:
        time.sleep(0.05)
    return log.read_text().split()


@pytest.mark.parametrize("seconds", ["600", "0"])
def test_a_detached_process_that_ignores_sigterm_ends_too_even_when_its_parent_is_gone(tmp_path, seconds):
    with Family(grace=0.5) as family:
        family.start([sys.executable, "-c", DETACHES, seconds], tmp_path / "log")
        child = next(int(word) for word in lines(tmp_path / "log", 2) if word.isdecimal())
        assert stat.S_IMODE(family.folder.stat().st_mode) == 0o700
        assert child in {process.pid for process in family.members()}
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert not family.folder.exists()


def test_it_ends_on_ctrl_c_as_well(tmp_path):
    family = Family(grace=0.5)

    def interrupted():
        with family:
            family.start(["sleep", "600"], tmp_path / "log")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (process,) = family._children
    assert process.returncode is not None
    assert not family.folder.exists()


def test_a_server_that_does_not_start_is_quoted(tmp_path):
    with Family() as family:
        process = family.start([sys.executable, "-c", "raise SystemExit('no such key')"], tmp_path / "log")
        with pytest.raises(FederationError, match="says: 'no such key'"):
            wait_for_port(free_port(), process, tmp_path / "log")


def test_flowers_server_ends_when_whoever_started_it_is_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from lada.engines.family import Family, flower; "
        "family = Family(); process = family.start(flower(*sys.argv[2:]), Path(sys.argv[1])); "
        "print(process.pid, family.folder, flush=True); time.sleep(600)"
    )
    port = free_port()
    arguments = ["superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port), "--isolation", "process"]
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "log"), *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert parent.stdout is not None
    pid, folder = parent.stdout.readline().decode().split()
    try:
        child = psutil.Process(int(pid))
        while not (tmp_path / "log").exists() or b"running on" not in (tmp_path / "log").read_bytes():
            assert child.is_running()
            time.sleep(0.1)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    shutil.rmtree(folder)  # whoever is killed cannot tidy up


def test_flowers_command_lines_name_the_launcher():
    assert flower("superlink", "--insecure")[1:] == ["-P", "-m", "lada.engines.flower", "superlink", "--insecure"]
