"""What a run and a federation leave on disk is for their owner alone, whatever the umask."""

import os
import stat
import threading

import pytest
import yaml
from tiny_run import tiny

import lada
from lada.core.owner import for_owner
from lada.engines.setup import init
from lada.federation.run_lock import run_lock


@pytest.fixture
def open_hearted():
    """Give everybody all rights by default."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder):
    """Return the modes below a folder, and its own: of files and of folders."""
    paths = [folder, *folder.rglob("*")]
    return tuple({stat.S_IMODE(p.stat().st_mode) for p in paths if p.is_dir() == folders} for folders in (False, True))


@pytest.mark.usefixtures("open_hearted")
def test_a_finished_run(tmp_path):
    lada.run(tiny(rounds=0, keep_messages=True), runs=tmp_path / "runs")
    assert modes(tmp_path / "runs" / "tiny") == ({0o600}, {0o700})
    (tmp_path / "mine").touch()
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o666  # the umask is the caller's own again


@pytest.mark.usefixtures("open_hearted")
def test_the_files_of_a_federation(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny()), encoding="utf-8")
    init(tmp_path / "run.yaml", tmp_path / "fed")
    assert modes(tmp_path / "fed") == ({0o600}, {0o700})


def test_a_run_that_an_earlier_version_made_is_closed_when_it_goes_on(tmp_path):
    tmp_path.chmod(0o755)
    with run_lock(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def umask() -> int:
    before = os.umask(0o022)
    os.umask(before)
    return before


@pytest.mark.usefixtures("open_hearted")
def test_two_threads_leave_in_any_order_and_the_umask_goes_back_with_the_last():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with for_owner():
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with for_owner():
        thread.start()
        assert entered.wait(30)
    assert umask() == 0o077
    leave.set()
    thread.join()
    assert umask() == 0
