"""Whatever a family has started ends with it, also what has left its parent."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import time

import psutil
import pytest

from lada.core.errors import FederationError, InputError
from lada.engines import operator_secret
from lada.engines.family import Family, alone, flower, free_port, wait_for_port, wait_until_free

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


def test_what_an_earlier_family_of_the_place_left_behind_is_ended_and_nothing_else(tmp_path):
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    killed, elsewhere = Family(place=tmp_path / "a", grace=0.5), Family(place=tmp_path / "b", grace=0.5)
    orphan, other = killed.start(sleeper, tmp_path / "log"), elsewhere.start(sleeper, tmp_path / "log")
    with elsewhere, Family(place=tmp_path / "a", grace=0.5) as again:
        assert orphan.poll() is not None
        assert other.poll() is None
        mine = again.start(sleeper, tmp_path / "log")
        assert again.left_behind() == []
        assert [process.pid for process in killed.left_behind()] == [mine.pid]
    shutil.rmtree(killed.folder)


def test_one_command_holds_a_folder_and_leaves_no_lock(tmp_path):
    second = alone(tmp_path, "lada server")
    with alone(tmp_path, "lada server"), pytest.raises(InputError, match="another `lada server` is at work in"):
        second.__enter__()
    with alone(tmp_path, "lada server"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_whoever_has_the_port_is_named_and_not_taken_for_the_server(tmp_path):
    with socket.socket() as other, Family(grace=0.5) as family:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(FederationError, match=f"{port} is taken by process {os.getpid()} .*; end that process"):
            wait_until_free("0.0.0.0", port, seconds=0)
        process = family.start([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log")
        with pytest.raises(FederationError, match="this machine is too slow or too busy"):
            wait_for_port(port, process, tmp_path / "log", seconds=0.3)
    wait_until_free("127.0.0.1", port, seconds=0)


def test_only_this_user_may_read_the_secret(tmp_path):
    file = operator_secret.make_secret(tmp_path)
    assert file == operator_secret.secret_file(tmp_path)
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    first = operator_secret.own_secret({operator_secret.VARIABLE: str(file)})
    assert len(first) == 64
    operator_secret.make_secret(tmp_path)
    assert operator_secret.read_secret(file) != first  # each start has its own
    file.chmod(0o640)
    with pytest.raises(FederationError, match="open to others"):
        operator_secret.read_secret(file)
    file.unlink()
    with pytest.raises(FederationError, match="is `lada server` running"):
        operator_secret.read_secret(file)
    with pytest.raises(FederationError, match="names no file"):
        operator_secret.own_secret({})
