"""Processes that end together, and a temporary folder that they share. Nothing of them is left behind."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import click
import psutil

from lada.core.errors import FederationError, InputError
from lada.core.signals import uninterrupted
from lada.engines import operator_secret
from lada.federation import run_lock
from lada.federation.workers import ONE_THREAD

PACKAGE = Path(__file__).parents[2]
"""The folder of this package."""
MARK = "LADA_FAMILY"
"""The environment variable that names the families that a process belongs to."""
GRACE = 8.0
"""Seconds between asking processes to end and killing them; Flower's processes take up to five."""
START = 180.0
"""Seconds that Flower's server may take before it listens; on an idle machine, five are enough."""
FREE = 15.0
"""Seconds to wait for a port that is in use: a process that is ending releases it within this time."""
LONGEST = 24
"""Characters. The path of a Unix socket has at most 107, and Ray's names take about 70 of them."""
END = 200
"""Lines at the end of a log in which the cause of a fault is looked for."""
EXCEPTION = re.compile(r"\bexception\b|\b\w+(Error|Exception): ", re.IGNORECASE)
"""What a line contains that reports an exception, as Python and Flower write it."""
FLOWER = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
    "FLWR_INTERNAL_GRPC_CONTROL_API": "0",
    "FLWR_INTERNAL_GRPC_FLEET_API": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Settings of Flower's processes: report nothing, install nothing, look for work ten times a second, and open no other
port, since it would not be fenced."""


class Family:
    """A context: processes started within it, and all their descendants, end with it.

    Only this user can enter `folder`, which is removed with the family. Processes are recognised by a mark in their
    environment, since Flower detaches some of its processes from their parents.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, place: Path | None = None, grace: float = GRACE
    ) -> None:
        """`grace` is the number of seconds that the processes have to end the processes that they started.

        Processes that an earlier family of the same `place` left behind, because its starter was killed, are ended
        first. The caller must hold the place exclusively (`alone`).
        """
        self._grace = grace
        self._place = hashlib.sha256(str(place.resolve()).encode()).hexdigest()[:16] if place else ""
        self.folder = Path(tempfile.mkdtemp(prefix="lada-", dir=_short()))
        self._mark = secrets.token_hex(8)
        self._children: list[subprocess.Popen[bytes]] = []
        marks = [mark for mark in (os.environ.get(MARK, ""), self._place, self._mark) if mark]
        scripts = sysconfig.get_path("scripts")
        self.environment = {
            **os.environ,
            **ONE_THREAD,
            **FLOWER,
            # Flower starts its processes by name, and they must find the package as this process does.
            "PATH": os.pathsep.join([str(self.folder / "bin"), scripts, os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")])),
            MARK: ":".join(marks),
            operator_secret.VARIABLE: str(operator_secret.make_secret(self.folder)),
            **(environment or {}),
        }

    def start(self, command: Sequence[str], log: Path, *, directory: Path | None = None) -> "subprocess.Popen[bytes]":
        """Start a process, whose output is appended to `log`. Its stdin ends when this process does."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=self.environment,
                cwd=directory,
                start_new_session=True,  # a terminal's Ctrl-C reaches only the main process
            )
        self._children.append(child)
        return child

    def call(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run a short command to completion and return its output."""
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=self.environment,
            check=False,
            start_new_session=True,
        )

    def members(self) -> list[psutil.Process]:
        """Return the processes that are alive."""
        return [process for process in psutil.process_iter() if self._mark in _marks(process)]

    def left_behind(self) -> list[psutil.Process]:
        """Return the processes of earlier families of this place that are alive."""
        if not self._place:
            return []
        return [
            process
            for process in psutil.process_iter()
            if self._place in (marks := _marks(process)) and self._mark not in marks
        ]

    def __enter__(self) -> "Family":
        _end(self.left_behind, max(self._grace, GRACE))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ask all processes to end, kill those that do not, and remove the folder."""
        with uninterrupted():
            for child in self._children:
                child.terminate()  # first those that look after others, so that they have time for it
            _wait(lambda: any(child.poll() is None for child in self._children), self._grace)
            _end(self.members, GRACE)
            for child in self._children:
                child.communicate()  # closes its stdin and releases it
            shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """Lock a folder; raises InputError if the same command holds it already. The lock of a killed process is
    released."""
    with run_lock.alone(folder, f"another `{command}` is at work in {str(folder)!r}; end it first"):
        yield


def flower(what: str, *arguments: str) -> list[str]:
    """Return the command line of one of Flower's long-lived processes, as lada.engines.flower runs it."""
    return python("lada.engines.flower", what, *arguments)


def python(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module without importing anything from the working directory."""
    return [sys.executable, "-P", "-m", module, *arguments]


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", log: Path, seconds: float = START) -> None:
    """Wait until this process, and no other, listens at a port of this machine.

    Raises FederationError if it ends before, or does not listen in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if _listens(psutil.Process(process.pid), port):
            return
        time.sleep(0.1)
    if process.poll() is None:
        raise FederationError(
            f"Flower's server does not listen at port {port} after {seconds:g} s, so this machine is too slow or too "
            f"busy; {last_words(log)}"
        )
    raise FederationError(f"Flower's server ended (code {process.returncode}); {last_words(log)}")


def wait_until_free(host: str, port: int, seconds: float = FREE) -> None:
    """Wait until a port of this machine is free. Raises FederationError that names the process which uses it."""
    deadline = time.monotonic() + seconds
    while _is_taken(host, port):
        if time.monotonic() >= deadline:
            raise FederationError(
                f"port: {port} is taken by {_holder(port)}; end that process, or give another port in server.yaml"
            )
        time.sleep(0.2)


def _is_taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE  # Flower's server reports any other problem itself
    return False


def _holder(port: int) -> str:
    with suppress(psutil.Error, OSError):
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if _listens(process, port):
                    return f"process {process.pid} ({process.name()})"
    return "a process of another user"


def _listens(process: psutil.Process, port: int) -> bool:
    with suppress(psutil.Error):
        ends = process.net_connections(kind="tcp")
        return any(end.status == psutil.CONN_LISTEN and end.laddr and end.laddr.port == port for end in ends)
    return False


def last_words(log: Path) -> str:
    """Return the path of a log and, for an error message, the line of its end that says most about a fault.

    That is the first that reports an exception, since others follow from it, else the last with the word "error", else
    the last.
    """
    try:
        read = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        read = []
    lines = [line for each in read if (line := click.unstyle(each).strip())]
    end = lines[-END:]
    lines = (
        [line for line in end if EXCEPTION.search(line)][:1]
        or [line for line in end if "error" in line.lower()][-1:]
        or lines
    )
    return f"its log {str(log)!r} says: {_message(lines[-1])!r}" if lines else f"its log {str(log)!r} is empty"


def _message(line: str) -> str:
    """Return the message of a log line, which may be JSON."""
    try:
        return json.loads(line)["message"]
    except (ValueError, TypeError, KeyError):
        return line


def _short() -> str:
    """Return the folder for temporary files, or /tmp if its path is too long for the sockets below it."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= LONGEST or os.name != "posix" else "/tmp"


def _marks(process: psutil.Process) -> list[str]:
    """Return the marks of the families that a process belongs to; none for this process or a dead one."""
    if process.pid == os.getpid():
        return []
    with suppress(psutil.Error, OSError):
        marks = process.environ().get(MARK, "").split(":")
        return marks if process.status() != psutil.STATUS_ZOMBIE else []
    return []


def _end(processes: Callable[[], list[psutil.Process]], seconds: float) -> None:
    """Ask processes to end, and kill those that do not end within that many seconds."""
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes():
            with suppress(psutil.Error):
                ask(process)
        _wait(processes, seconds)


def _wait(busy: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while busy() and time.monotonic() < deadline:
        time.sleep(0.05)


def need_unix() -> None:
    """Raise InputError on a system without Unix sockets or process groups."""
    if not hasattr(socket, "AF_UNIX") or os.name != "posix":
        raise InputError("engine: 'deployment' needs Unix sockets, which this system lacks; use Linux, macOS or WSL 2")
