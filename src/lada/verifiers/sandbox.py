"""Runs an untrusted program: without a network, with read-only files, and with limits on time and memory."""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from lada.core.errors import InputError
from lada.verifiers.base import Failure

LAUNCHER = Path(__file__).with_name("launcher.py")
SandboxKind = Literal["bubblewrap", "namespaces", "none"]
LONGEST_OUTPUT = 64 * 2**10
"""The most bytes that a program may print."""
BWRAP = [
    *("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--ro-bind", "/", "/"),
    *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run", "--tmpfs", "/var/tmp"),
    *("--chdir", "/tmp"),
]
UNSHARE = [
    *("--user", "--map-root-user", "--mount", "--net", "--ipc", "--uts", "--pid"),
    *("--fork", "--kill-child", "--mount-proc"),
]


def choose(wish: SandboxKind | Literal["auto"]) -> SandboxKind:
    """Return the strictest sandbox that works on this machine. Raises InputError if none does.

    `none` is chosen only if it is asked for.
    """
    if wish == "none":
        return wish
    kinds: tuple[SandboxKind, ...] = ("bubblewrap", "namespaces") if wish == "auto" else (wish,)
    for kind in kinds:
        if run("print('it works')", kind, seconds=20, memory=512 * 2**20) == "it works\n":
            return kind
    verb = "does" if kinds == ("bubblewrap",) else "do"
    raise InputError(
        f"task.verifier.sandbox: {' and '.join(kinds)} {verb} not work here, so that programs could reach the network "
        "and your files; install bubblewrap (Debian, Ubuntu: apt install bubblewrap) and allow user namespaces, or "
        "set "
        "sandbox: none if you trust everything that the models may write"
    )


def run(source: str, kind: SandboxKind, *, seconds: float, memory: int) -> str | Failure:
    """Return the output of a Python program, or why it failed."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "source.py"
        program.write_bytes(source.encode("utf-8", "replace"))
        with program.open("rb") as stdin:
            try:
                process = subprocess.Popen(
                    [*_command(kind), str(memory), str(int(seconds) + 1), str(int(kind == "namespaces"))],
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd=folder,
                )
            except OSError:
                return Failure("could not be started")
        with process:
            try:
                printed, late = _read(process, seconds)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if late:
        return Failure(f"took longer than {seconds:g} s")
    if len(printed) > LONGEST_OUTPUT:
        return Failure(f"printed more than {LONGEST_OUTPUT} bytes")
    return printed.decode("utf-8", "replace") if process.returncode == 0 else Failure("did not run to its end")


def _read(process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bool]:
    """Return the output of a process, at most one byte more than allowed, and whether it still runs after `seconds`."""
    assert process.stdout is not None
    deadline, printed = time.monotonic() + seconds, b""
    while len(printed) <= LONGEST_OUTPUT:
        if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return printed, True
        chunk = os.read(process.stdout.fileno(), LONGEST_OUTPUT)
        if not chunk:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                return printed, True
            break
        printed += chunk
    return printed, False


def _command(kind: SandboxKind) -> list[str]:
    python = [sys.executable, "-I", "-S", str(LAUNCHER)]
    if kind == "bubblewrap":
        return [shutil.which("bwrap") or "bwrap", *BWRAP, *python]
    if kind == "namespaces":
        return [shutil.which("unshare") or "unshare", *UNSHARE, *python]
    return python
