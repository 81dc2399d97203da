import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lada.core.errors import InputError
from lada.federation.worker_process import load
from lada.federation.workers import DeadWorkerError, FailedTaskError, InProcess, WorkerPool, one_thread

FACTORY = "toy_tasks:factory"


def pool(folder: Path, size: int = 1, emit=print, preload: tuple[str, ...] = ()) -> WorkerPool:
    return WorkerPool(FACTORY, str(folder), emit, size=size, log=folder / "workers.log", preload=preload)


def test_two_workers_work_at_the_same_time(tmp_path):
    with pool(tmp_path, size=2) as crew:
        futures = [crew.submit("meet", b"one two"), crew.submit("meet", b"two one")]
        assert [future.result(60) for future in futures] == [b"met", b"met"]


def test_events_arrive_before_the_reply_and_prints_do_not_disturb(tmp_path):
    events = []
    with pool(tmp_path, emit=events.append) as crew:
        big = "é".encode() * 500_000
        assert crew.submit("tell", big).result(60) == big
        assert [event["step"] for event in events] == [0, 1, 2]
        assert events[0] == {"kind": "step", "step": 0, "of": big.decode()}
        with pytest.raises(FailedTaskError):
            crew.submit("fail", b"").result(60)
    log = (tmp_path / "workers.log").read_text()
    assert "said before it failed" in log
    assert "RuntimeError: the cause" in log


def test_a_worker_survives_a_failed_task_but_not_a_kill_and_is_then_replaced(tmp_path):
    with pool(tmp_path) as crew:
        first = crew.submit("pid", b"").result(60)
        with pytest.raises(FailedTaskError):
            crew.submit("fail", b"").result(60)
        assert crew.submit("pid", b"").result(60) == first
        with pytest.raises(DeadWorkerError):
            crew.submit("die", b"").result(60)
        second = crew.submit("pid", b"").result(60)
        assert second != first
        assert crew.submit("threads", b"").result(60) == b"1 1 1"
    for pid in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_an_emit_that_raises_is_heard_of(tmp_path):
    def emit(event):
        raise OSError("disk full")

    with pool(tmp_path, emit=emit) as crew, pytest.raises(OSError, match="disk full"):
        crew.submit("tell", b"").result(60)


def test_leaving_ends_a_worker_amid_its_task_and_gives_up_the_queue(tmp_path):
    started, crew, futures = threading.Event(), pool(tmp_path, emit=lambda event: started.set()), []

    def fail():
        with crew:
            futures.extend([crew.submit("wait", b""), crew.submit("pid", b"")])
            assert started.wait(60)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    for future in futures:
        with pytest.raises(DeadWorkerError):
            future.result(60)
    assert not [thread for thread in crew._threads if thread.is_alive()]


linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each worker is started by command line")


@linux
def test_workers_are_forks_of_one_process_which_their_pool_ends(tmp_path):
    with pool(tmp_path, preload=("torch",)) as crew:
        parent = int(crew.submit("parent", b"").result(60))
        assert parent != os.getpid()
        # Its main thread and the one that listens; CUDA could start; it is a group of its own, which ends with it.
        assert crew.submit("state", b"").result(60) == b"2 False True"
        with pytest.raises(DeadWorkerError):
            crew.submit("die", b"").result(60)
        assert int(crew.submit("parent", b"").result(60)) == parent
    with pytest.raises(ProcessLookupError):
        os.kill(parent, 0)


@linux
def test_a_preloaded_module_that_starts_a_thread_is_not_forked(tmp_path, monkeypatch):
    threaded = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    (tmp_path / "threaded.py").write_text(threaded)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pool(tmp_path, preload=("threaded",)) as crew:
        assert int(crew.submit("parent", b"").result(60)) == os.getpid()
    assert "started one by one" in (tmp_path / "workers.log").read_text()


@linux
def test_without_its_fork_server_a_pool_starts_workers_itself(tmp_path):
    with pool(tmp_path) as crew:
        os.kill(int(crew.submit("parent", b"").result(60)), signal.SIGKILL)
        with pytest.raises(DeadWorkerError):
            crew.submit("die", b"").result(60)
        assert int(crew.submit("parent", b"").result(60)) == os.getpid()


@linux
def test_leaving_does_not_wait_for_what_is_preloaded(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "begun")
    (tmp_path / "slow.py").write_text(f"import time\nopen({str(tmp_path / 'begun')!r}, 'w').close()\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pool(tmp_path, preload=("slow",)) as crew:
        future = crew.submit("pid", b"")
        (tmp_path / "begun").open().close()  # blocks until the import is under way
    with pytest.raises(DeadWorkerError):
        future.result(60)


MAIN = """
import signal
import sys
from pathlib import Path
from lada.federation.workers import WorkerPool

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests' own parent made of it
folder = Path(sys.argv[1])
with WorkerPool("toy_tasks:factory", str(folder), print, size=2, log=folder / "workers.log") as crew:
    futures = [crew.submit("hang", name) for name in (b"left", b"right")]
    futures[0].result()
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_main_process(tmp_path, how):
    for name in ("left", "right"):
        os.mkfifo(tmp_path / name)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    main = subprocess.Popen(
        [sys.executable, "-c", MAIN, str(tmp_path)], env=environment, stderr=subprocess.PIPE, text=True
    )
    with (tmp_path / "left").open("rb", buffering=0) as left, (tmp_path / "right").open("rb", buffering=0) as right:
        assert left.read(1) == right.read(1) == b"!"  # both workers are amid their task
        main.send_signal(how)
        _, said = main.communicate(timeout=60)
        assert left.read() == right.read() == b""  # blocks until nobody holds the pipe any more
    assert main.returncode == -how
    assert ("KeyboardInterrupt" in said) == (how == signal.SIGINT)
    assert (tmp_path / "workers.log").read_text() == ""


def test_in_process_gives_the_same_replies_and_lets_the_cause_through(tmp_path):
    events = []
    with InProcess(FACTORY, str(tmp_path), events.append) as crew:
        assert crew.submit("tell", b"x").result(0) == b"x"
        assert crew.submit("pid", b"").result(0) == str(os.getpid()).encode()
        with pytest.raises(RuntimeError, match="the cause"):
            crew.submit("fail", b"")
    assert [event["step"] for event in events] == [0, 1, 2]


def test_one_thread_limits_torch_and_restores_it():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("path", ["toy_tasks:nothing", "no_such_module:factory", "toy_tasks", ""])
def test_a_wrong_path_is_refused_by_name(path):
    with pytest.raises(InputError, match=r"expected 'package\.module:function'"):
        load(path)
