"""Calls functions of a Python file in a separate process with limits on time and memory."""

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
"""Seconds that the import of a file may take."""
LONGEST_REPLY = 64 * 2**20
"""Bytes of a reply."""


class WorkerProcess:
    """Calls functions of one file. A call that fails badly ends the process; the next call starts another."""

    def __init__(self, file: Path, memory: int) -> None:
        """`memory` is the most bytes of address space for the process, if the system can limit it."""
        self._file, self._memory = file, memory
        self.functions: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._calls: Any = None
        self._number = 0

    def start(self) -> None:
        """Start the process if it is not running. Raises InputError if the file cannot be imported."""
        if self._process is not None:
            return
        self._calls, theirs = Pipe()
        self._number = 0
        descriptor = theirs.fileno()
        # The order of sets of text is fixed, so that equal seeds draw equal questions.
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
                f"task.verifier: {str(self._file)!r} cannot be imported: it {reply.reason}; fix the file, or raise "
                "task.verifier.memory_mb"
            )
        self.functions = frozenset(reply)

    def call(self, function: str, arguments: list[Any], seconds: float, *, score: bool = False) -> Any:
        """Return a function's result, converted through JSON, or a Failure. Dictionaries become objects.

        With `score`, the result must be a number from 0 to 1. Raises InputError if the file can no longer be imported.
        """
        request = {"function": function, "arguments": arguments, "seconds": seconds, "score": score}
        with self._lock:
            self.start()
            self._number += 1
            try:
                self._calls.send_bytes(json.dumps({"number": self._number, **request}).encode())
                reply = self._receive(seconds)
            except OSError:  # it died because of what an earlier call left behind
                reply = Failure("crashed")
                self._stop()
            except _DiedError as error:
                reply = Failure(str(error))
                self._stop()
            return reply

    def _receive(self, seconds: float) -> Any:
        """Return the reply to the latest request; replies of other processes or to other requests are ignored."""
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
    """The process is no longer usable."""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started, unless done before: its number may belong to another process by now."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
