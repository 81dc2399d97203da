"""Python in forks of one process that has imported what LaDa computes with: its seconds are spent once.

`start` and `run` stand for `subprocess.Popen` and `subprocess.run` of `[sys.executable, *arguments]`, where the
arguments are `-m MODULE ...` or `-c CODE ...`. Python's own fork server does the forks; Windows has none.
"""

import atexit
import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from lada.federation.fork_server import NO_THREAD
from lada.federation.local import PRELOAD

FORKS = "forkserver" in multiprocessing.get_all_start_methods()
IMPORTED = (*PRELOAD, "peft", "lada.experiment", "lada.engines.worker")


class Warm:
    """A fork at work; it has what the tests use of `subprocess.Popen`."""

    def __init__(
        self, arguments: Sequence[object], stdin: int, files: Sequence[str | Path], env: Mapping[str, str], cwd: Path
    ) -> None:
        """`stdin` is a file descriptor, and `files` those of the output and of the errors."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*IMPORTED])
        os.environ.update(NO_THREAD)  # the server starts with its first process, and is to have one thread
        with Connection(os.dup(stdin)) as handed:
            given = ([*map(str, arguments)], handed, [*map(str, files)], dict(env), str(cwd))
            self._process = context.Process(target=_work, args=given)
            self._process.start()
        self.pid = self._process.pid or 0
        self.stdin: IO[bytes] | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None as long as there is none."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("python", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start(
    *arguments: object, log: Path, env: Mapping[str, str] = os.environ, cwd: Path | None = None
) -> "Warm | subprocess.Popen[bytes]":
    """Start Python; what it prints is appended to `log`, and its standard input is a pipe."""
    if FORKS:
        reader, writer = os.pipe()
        process = Warm(arguments, reader, (log, log), env, cwd or Path.cwd())
        process.stdin = os.fdopen(writer, "wb")
        os.close(reader)
        return process
    with log.open("ab") as out:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out, env=dict(env), cwd=cwd)


def run(
    *arguments: object, env: Mapping[str, str] = os.environ, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run Python to its end and return what it printed, as `capture_output` has it."""
    if not FORKS:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(env), cwd=cwd)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "out"), Path(folder, "err")
        with open(os.devnull, "rb") as nothing:
            code = Warm(arguments, nothing.fileno(), files, env, cwd or Path.cwd()).wait()
        said, told = (file.read_text(encoding="utf-8") for file in files)
        return subprocess.CompletedProcess([*map(str, arguments)], code, said, told)


def popen(
    command: Sequence[str], *, stdin: int, stdout: IO[bytes], stderr: IO[bytes], env: Mapping[str, str], **_: object
) -> Warm:
    """Stand for the `Popen` by which LaDa starts the server that its workers are forks of."""
    return Warm(command[1:], stdin, (stdout.name, stderr.name), env, Path.cwd())


def _work(arguments: list[str], stdin: Connection, files: list[str], env: dict[str, str], cwd: str) -> None:
    """Be `python *arguments`."""
    gc.freeze()  # what is imported is no garbage
    os.dup2(stdin.fileno(), 0)
    stdin.close()
    sys.stdin = os.fdopen(0, closefd=False)
    for handle, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), handle)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    (how, what), sys.argv[:] = arguments[:2], arguments[1:]
    try:
        if how == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()  # which the end of a fork leaves out
