"""Functions of a Python file, called in a process of their own with limits of time and memory."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from lada.core.errors import InputError
from lada.verifiers.base import Failure

CHILD = Path(__file__).with_name("child.py")
STARTING = 120.0
"""Seconds that a file may take to be imported."""
LONGEST_REPLY = 64 * 2**20
"""Bytes of a reply."""


class WorkerProcess:
    """Calls functions of one file. A call that fails badly ends the process; the next one starts another."""

    def __init__(self, file: Path, memory: int) -> None:
        """`memory`: bytes of addresses that the process may have, where the system can limit that."""
        self._file, self._memory = file, memory
        self.functions: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._calls: Any = None
        self._number = 0

    def start(self) -> None:
        """Start the process if there is none. Raises InputError where the file cannot be imported."""
        if self._process is not None:
            return
        self._calls, theirs = Pipe()
        self._number = 0
        descriptor = theirs.fileno()
        # Sets and dicts of text come in the same order everywhere, for equal seeds to draw equal questions.
        environment = {**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(CHILD), str(descriptor), str(self._memory), str(self._file)],
            pass_fds=(descriptor,),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
        theirs.close()
        weakref.finalize(self, _end, self._process)
        try:
            reply = self._receive(STARTING)
        except _DiedError as error:
            reply = Failure(str(error))
        if isinstance(reply, Failure):
            self._stop()
            raise InputError(
                f"task.verifier: {str(self._file)!r} cannot be imported: it {reply.reason}; mend the file, or raise "
                "task.verifier.memory_mb"
            )
        self.functions = frozenset(reply)

    def call(self, function: str, arguments: list[Any], seconds: float, *, score: bool = False) -> Any:
        """Return what a function returns, as JSON gives it back, or a Failure. Dictionaries become objects.

        With `score` it must be a number from 0 to 1. Raises InputError where the file cannot be imported any more.
        """
        request = {"function": function, "arguments": arguments, "seconds": seconds, "score": score}
        with self._lock:
            self.start()
            self._number += 1
            try:
                self._calls.send_bytes(json.dumps({"number": self._number, **request}).encode())
                reply = self._receive(seconds)
            except OSError:  # it died of what an earlier call left behind
                reply = Failure("crashed")
                self._stop()
            except _DiedError as error:
                reply = Failure(str(error))
                self._stop()
            return reply

    def _receive(self, seconds: float) -> Any:
        """Return the reply to the latest request; one of another process or to another request is passed over."""
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while True:
            if not self._calls.poll(max(0.0, deadline - time.monotonic())):
                raise _DiedError(f"took longer than {seconds:g} s")
            try:
                reply = json.loads(self._calls.recv_bytes(LONGEST_REPLY))
            except (EOFError, OSError, ValueError):
                raise _DiedError("crashed") from None
            if (reply["process"], reply["number"]) == (self._process.pid, self._number):
                break
        return Failure(reply["failure"]) if "failure" in reply else reply["result"]

    def _stop(self) -> None:
        assert self._process is not None
        _end(self._process)
        self._calls.close()
        self._process = None


class _DiedError(Exception):
    """The process is of no more use."""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started, unless that was done before: its number may be another's by now."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
