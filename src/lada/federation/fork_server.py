"""A fork server: one process that has imported the modules of workers; each worker is a fork of it.

Importing torch and transformers takes seconds, a fork takes milliseconds. The server computes nothing and uses no
device, so it has one thread, and its forks work like processes that are started by command line. There is no fork
server where this does not hold: on systems other than Linux, whose libraries start threads, and if an imported module
has started a thread.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO

from lada.federation import worker_process

BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lada.federation.fork_server import main; main()"
THREADS = Path("/proc/self/task")
FORK, REAP = b"F", b"R"
"""Requests: fork, with the file descriptors FILES; and reap the process with the following id."""
FILES = 4
"""Standard input, output and error of the fork, and a file that stays open until it ends."""
NO_THREAD = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""An environment variable that keeps pyarrow from starting a thread, for an unused memory pool, when it is imported."""
GRACE = 1.0
"""Seconds that it may take to end by itself, after it has reaped its forks."""
PID = 32
"""The most digits of a process's id, in decimal."""


class ForkServer:
    """The caller's end of a fork server. It starts with the first fork."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """`modules` are the modules to import; `log` receives their output and that of the forks."""
        self._modules, self._environment, self._log = modules, environment, log
        self._process: subprocess.Popen[bytes] | None = None
        self._here, self._there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fork(self) -> Fork | None:
        """Return a fork that serves as `worker_process.main` does; None if there is no fork server (any more)."""
        with self._log.open("ab") as stderr:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", BOOT, json.dumps(sys.path), *self._modules],
                    stdin=self._there.fileno(),
                    stdout=stderr,
                    stderr=stderr,
                    env={**self._environment, **NO_THREAD},
                    start_new_session=True,  # a terminal's Ctrl-C reaches only the main process
                )
                self._there.close()
            (stdin, outbox), (inbox, stdout), (life, alive) = os.pipe(), os.pipe(), os.pipe()
            try:
                socket.send_fds(self._here, [FORK], [stdin, stdout, stderr.fileno(), alive])
                pid = self._here.recv(PID)
            except OSError:
                pid = b""
            finally:
                for theirs in (stdin, stdout, alive):
                    os.close(theirs)
        if not pid:
            for ours in (outbox, inbox, life):
                os.close(ours)
            return None
        return Fork(self, int(pid), inbox, outbox, life)

    def reap(self, pid: int) -> None:
        """Release the id of a fork that has ended."""
        with suppress(OSError):  # without a server, nothing holds it
            self._here.send(REAP + str(pid).encode())

    def close(self) -> None:
        """End the server, even while another thread waits for a fork, which then gets None. Forks continue."""
        with suppress(OSError):
            self._here.shutdown(socket.SHUT_RDWR)
        if self._process is not None:
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:  # during its imports
                self._process.kill()
                self._process.wait()


class Fork:
    """One worker that is a fork of the server."""

    def __init__(self, server: ForkServer, pid: int, inbox: int, outbox: int, life: int) -> None:
        self._server, self._pid, self._life = server, pid, life
        self._ended = False
        self._waiting = threading.Lock()
        self.inbox: IO[bytes] = os.fdopen(inbox, "rb")
        self.outbox: IO[bytes] = os.fdopen(outbox, "wb")

    def signal(self, number: int) -> None:
        """Send a signal to the process and those that it started, unless it is known to have ended."""
        if not self._ended:  # no other process can have its id before it is reaped
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)

    def wait(self, seconds: float) -> bool:
        """Return whether it ends within that many seconds."""
        with self._waiting:
            if not self._ended:
                ends = select.poll()
                ends.register(self._life, 0)  # which reports only a hang-up
                if not ends.poll(seconds * 1000):
                    return False
                self._ended = True
                os.close(self._life)
                self._server.reap(self._pid)
            return True


def main() -> None:
    """Import the modules named after `sys.path`, then serve until standard input, a socket, closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    gc.disable()  # it would go through what is imported again and again, and find nothing
    for module in sys.argv[2:]:
        import_module(module)
    if len(list(THREADS.iterdir())) > 1:
        sys.stderr.write("workers are started one by one, since a module that they need starts a thread\n")
        return
    gc.freeze()  # what is imported stays, and its memory is shared for as long as nobody writes to it
    gc.enable()
    while True:
        request, files, _, _ = socket.recv_fds(asked, 1 + PID, FILES)
        if not request:
            return
        if request[:1] == REAP:
            os.waitpid(int(request[1:]), 0)
            continue
        pid = os.fork()
        if pid == 0:
            asked.close()
            _work(files)
        os.setpgid(pid, pid)  # before its id is known
        for file in files:
            os.close(file)
        asked.send(str(pid).encode())


def _work(files: Sequence[int]) -> None:
    """Act as a worker; never return."""
    try:
        *standard, alive = files
        for place, file in enumerate(standard):
            os.dup2(file, place)
            os.close(file)
        os.set_inheritable(alive, False)
        sys.argv[1:] = []
        worker_process.main()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)
