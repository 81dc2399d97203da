"""The processes of cells have limits and logs, and end with the process that started them."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lada.bench.running import Processes

SAYS = "import os, sys; print(os.environ['OMP_NUM_THREADS'], sys.stdin.read(), flush=True); sys.exit(3)"
HANGS = "import time; print('here', flush=True); time.sleep(600)"


def test_a_command_has_one_thread_no_input_a_log_and_an_exit_code(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    with Processes() as processes:
        assert processes.call([sys.executable, "-c", SAYS], log) == 3
    assert log.read_text() == "before\n1 \n"


def test_what_runs_is_ended_with_the_context_and_nothing_starts_behind_it(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with ThreadPoolExecutor(1) as pool:
        with Processes() as processes:
            running = pool.submit(processes.call, [sys.executable, "-c", HANGS], log)
            while not log.exists() or log.read_text() != "here\n":
                assert not running.done()
                time.sleep(0.01)
        assert running.result() < 0
    assert processes.call([sys.executable, "-c", SAYS], log) == 1
    assert log.read_text() == "here\n"
