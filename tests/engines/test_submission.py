"""A ServerApp that is killed is missed at once, though Flower's stream of its log goes on and nobody buries it."""

import subprocess
import sys
from itertools import pairwise

import psutil
import pytest
from federations import small

from lada.config import make_config
from lada.core.errors import FederationError
from lada.engines import submission
from lada.engines.family import Family
from lada.federation.parties import Place

STREAM = """
import pathlib, subprocess, sys, time
wish = pathlib.Path(sys.argv[1]).read_text()
file = pathlib.Path(wish.split('"')[1])
app = subprocess.Popen([sys.executable, "-c", "pass"])
while pathlib.Path(f"/proc/{app.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.01)
file.with_suffix(".pid").write_text(str(app.pid))
time.sleep(600)
"""


@pytest.mark.skipif(not psutil.LINUX, reason="looks for a zombie in /proc")
def test_a_server_app_that_was_killed_ends_the_run_with_what_to_do(tmp_path, monkeypatch):
    def flower(*arguments):
        (wish,) = [value for option, value in pairwise(arguments) if option == "--run-config"]
        return [sys.executable, "-c", STREAM, wish]

    monkeypatch.setattr(submission, "flower", flower)
    folder = tmp_path / "run"
    folder.mkdir()
    with Family(grace=0.5) as family, pytest.raises(FederationError, match=r"\(process \d+\) was killed.*--resume"):
        submission.submit(family, make_config(small()), Place(folder, tmp_path, 0.0), print, superlink="none")
    assert not list(folder.glob("submission*"))


def test_a_process_that_was_not_buried_is_not_alive():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert submission._is_alive(process.pid)
    process.kill()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert not submission._is_alive(process.pid)
    process.communicate()
    assert not submission._is_alive(process.pid)
    assert not submission._is_alive(-1)
