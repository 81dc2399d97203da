"""Runs the clients' work on this machine: in a pool of worker processes, or in the calling process.

Both use one thread per process, so the results are bit for bit the same. This module does not depend on Flower or
models.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol

from lada.federation.fork_server import ForkServer
from lada.federation.worker_process import (
    EVENT,
    FAILURE,
    NAME,
    START,
    TASK,
    load,
    read_frame,
    write_frame,
)

if TYPE_CHECKING:
    from lada.rounds.party import Emit

Handle = Callable[[str, bytes], bytes]
"""Executes one task, given a client's name and a message, and returns the reply."""

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lada.federation.worker_process import main; main()"
)
GRACE = 2.0
"""Seconds between asking a worker to end and killing it."""
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has only one way to end a process


class DeadWorkerError(Exception):
    """The worker ended during or before the task."""


class FailedTaskError(Exception):
    """The task raised an exception, which is in the worker's log."""


class Workers(Protocol):
    """Executes tasks; used as a context manager."""

    def submit(self, name: str, data: bytes) -> Future[bytes]:
        """Start one task. Its future may raise DeadWorkerError or FailedTaskError."""
        ...

    def __enter__(self) -> Workers: ...

    def __exit__(self, *_: object) -> None: ...


class InProcess:
    """Executes each task at once in the calling process, with one thread."""

    def __init__(self, factory: str, config: str, emit: Emit) -> None:
        """`factory` names a function `package.module:function` that turns (config, emit) into a Handle."""
        self._handle: Handle = load(factory)(config, emit)

    def submit(self, name: str, data: bytes) -> Future[bytes]:
        """Execute one task; the future is done when this returns. An exception of the task itself passes through."""
        future: Future[bytes] = Future()
        with one_thread():
            future.set_result(self._handle(name, data))
        return future

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch and NumPy's linear algebra to one thread."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


class Task(NamedTuple):
    """One entry of the queue."""

    name: str
    data: bytes
    future: Future[bytes]


class WorkerPool:
    """Worker processes that share one queue, so any worker may get any client. A worker starts with its first task.

    If a process dies, its task fails; the next task gets a fresh process. Workers end with the `with` block, and by
    themselves if this process is killed. On Linux they are forks of one process that has imported the factory's module
    and `preload`; elsewhere, or if that is impossible, each is started by command line. We do not use
    `multiprocessing`, since it would run the user's main script again in each worker.
    """

    def __init__(
        self, factory: str, config: str, emit: Emit, *, size: int, log: Path, preload: Sequence[str] = ()
    ) -> None:
        """`factory` is as for InProcess; `emit` is called by one thread at a time; `log` receives the workers'
        output."""
        modules = (factory.partition(":")[0], *preload)
        self._server = ForkServer(modules, _environment(), log) if sys.platform == "linux" else None
        self._first = json.dumps([factory, config]).encode()
        self._emit = emit
        self._log = log
        self._emitting = threading.Lock()
        self._starting = threading.Lock()
        self._closed = False
        self._live: set[_Worker] = set()
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(size)]
        log.parent.mkdir(parents=True, exist_ok=True)
        for thread in self._threads:
            thread.start()

    def submit(self, name: str, data: bytes) -> Future[bytes]:
        """Queue one task."""
        task = Task(name, data, Future())
        self._tasks.put(task)
        return task.future

    def _serve(self) -> None:
        """Take tasks until there are no more; each thread controls one process."""
        worker: _Worker | None = None
        while (task := self._tasks.get()) is not None:
            try:
                worker = worker or self._start()
                task.future.set_result(worker.run(task, self._forward))
            except FailedTaskError as error:
                task.future.set_exception(error)
            except Exception as error:  # also if `emit` raised: the worker is then in the middle of a task and unusable
                if worker is not None:
                    self._end(worker)
                    worker = None
                task.future.set_exception(error)

    def _forward(self, event: dict[str, Any]) -> None:
        with self._emitting:
            self._emit(event)

    def _start(self) -> _Worker:
        with self._starting:
            process = self._server.fork() if self._server and not self._closed else None
            if process is None and self._closed:
                raise DeadWorkerError
            worker = _Worker(process or _Started(self._log), self._first)
            self._live.add(worker)
            return worker

    def _end(self, worker: _Worker) -> None:
        worker.terminate()
        worker.reap()
        with self._starting:
            self._live.discard(worker)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers, even those that work on a task, within a few seconds."""
        self._closed = True
        if not self._starting.acquire(timeout=GRACE):
            if self._server:
                self._server.close()  # it is importing modules that are no longer needed
            self._starting.acquire()
        live = list(self._live)
        self._starting.release()
        for _thread in self._threads:
            self._tasks.put(None)
        for worker in live:
            worker.terminate()
        for worker in live:
            worker.reap()
        if self._server:
            self._server.close()  # after them, since it is their parent
        for thread in self._threads:
            thread.join(GRACE)


class _Process(Protocol):
    """A worker's process and the pipes to it."""

    inbox: IO[bytes]
    """What it writes."""
    outbox: IO[bytes]
    """What it reads."""

    def signal(self, number: int) -> None:
        """Send a signal to the process, and to any that it started itself."""
        ...

    def wait(self, seconds: float) -> bool:
        """Return whether it ends within that many seconds."""
        ...


class _Started:
    """A process that was started by command line."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=_environment(),
                start_new_session=True,  # a terminal's Ctrl-C reaches only the main process
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.inbox: IO[bytes] = self._process.stdout
        self.outbox: IO[bytes] = self._process.stdin

    def signal(self, number: int) -> None:
        """See _Process.signal; Windows has no process groups."""
        if self._process.returncode is not None:
            return
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """See _Process.wait."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def _environment() -> dict[str, str]:
    return {**os.environ, **ONE_THREAD}


class _Worker:
    """The requests to one process, and its replies."""

    def __init__(self, process: _Process, first: bytes) -> None:
        self._process = process
        self._first: bytes | None = first

    def run(self, task: Task, emit: Emit) -> bytes:
        """Execute one task. Raises DeadWorkerError or FailedTaskError."""
        inbox, outbox = self._process.inbox, self._process.outbox
        with _died():
            if self._first is not None:
                write_frame(outbox, START, self._first)
                self._first = None
            write_frame(outbox, NAME, task.name.encode())
            write_frame(outbox, TASK, task.data)
        while True:
            with _died():
                tag, data = read_frame(inbox)
            if tag == EVENT:
                emit(json.loads(data))
            elif tag == FAILURE:
                raise FailedTaskError
            else:
                return data

    def terminate(self) -> None:
        """Ask the process, and any that it started itself, to end."""
        self._process.signal(signal.SIGTERM)

    def reap(self) -> None:
        """Wait until the process has ended; kill it if it does not end."""
        while not self._process.wait(GRACE):
            self._process.signal(KILL)
        for pipe in (self._process.outbox, self._process.inbox):
            with suppress(OSError):  # data that could no longer be sent
                pipe.close()


@contextmanager
def _died() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError, ValueError) as error:  # ValueError: the pipe was closed on our side
        raise DeadWorkerError from error
