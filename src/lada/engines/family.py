"""Processes that end together, and the short-lived folder they share: nothing of them is left behind."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

from lada.core.errors import FederationError, InputError
from lada.core.signals import uninterrupted
from lada.engines import operator_secret
from lada.federation.workers import ONE_THREAD

PACKAGE = Path(__file__).parents[2]
"""Where this very package lies."""
MARK = "LADA_FAMILY"
"""The environment variable by which a process knows, and is known by, the families that it belongs to."""
GRACE = 8.0
"""Seconds between asking processes to end and killing them; Flower's own take up to five."""
LONGEST = 24
"""Characters: the path of a Unix socket has 107 at most, of which Ray's names take about 70."""
FLOWER = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""What Flower's processes read: report nothing, install nothing, look for work ten times a second."""


class Family:
    """A context: the processes started within, and all that descends from them, end with it.

    `folder` can be entered by this user alone and goes with the family. Processes are known by a mark in their
    environment, since Flower detaches some of its own from their parents.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, *, grace: float = GRACE) -> None:
        """`grace` is how many seconds the processes have to end what they themselves have started."""
        self._grace = grace
        self.folder = Path(tempfile.mkdtemp(prefix="lada-", dir=_short()))
        self._mark = secrets.token_hex(8)
        self._children: list[subprocess.Popen[bytes]] = []
        marks = [mark for mark in (os.environ.get(MARK, ""), self._mark) if mark]
        scripts = sysconfig.get_path("scripts")
        self.environment = {
            **os.environ,
            **ONE_THREAD,
            **FLOWER,
            # Flower starts its processes by name, and these are to find the package as this process does.
            "PATH": os.pathsep.join([str(self.folder / "bin"), scripts, os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")])),
            MARK: ":".join(marks),
            operator_secret.VARIABLE: str(operator_secret.make_secret(self.folder / "operator")),
            **(environment or {}),
        }

    def start(self, command: Sequence[str], log: Path, *, directory: Path | None = None) -> "subprocess.Popen[bytes]":
        """Start a process; what it prints goes behind what `log` holds. Its stdin ends when this process does."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=self.environment,
                cwd=directory,
                start_new_session=True,  # a terminal's Ctrl-C reaches the main process alone
            )
        self._children.append(child)
        return child

    def call(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run a short command to its end and return what it printed."""
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
        return [process for process in psutil.process_iter() if self._has(process)]

    def _has(self, process: psutil.Process) -> bool:
        if process.pid == os.getpid():
            return False
        with suppress(psutil.Error, OSError):
            return self._mark in process.environ().get(MARK, "").split(":") and process.status() != "zombie"
        return False

    def __enter__(self) -> "Family":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ask all to end, kill those that do not, and remove the folder."""
        with uninterrupted():
            for child in self._children:
                child.terminate()  # first those that look after others, and have the time to do so
            _wait(lambda: any(child.poll() is None for child in self._children), self._grace)
            for ask in (psutil.Process.terminate, psutil.Process.kill):
                for process in self.members():
                    with suppress(psutil.Error):
                        ask(process)
                _wait(self.members, GRACE)
            for child in self._children:
                child.communicate()  # closes its stdin and lets go of it
            shutil.rmtree(self.folder, ignore_errors=True)


def flower(what: str, *arguments: str) -> list[str]:
    """Return the command line of one of Flower's long-lived processes, as lada.engines.flower runs it."""
    return python("lada.engines.flower", what, *arguments)


def python(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module; what lies in the working directory is not imported."""
    return [sys.executable, "-P", "-m", module, *arguments]


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", log: Path, seconds: float = 60.0) -> None:
    """Wait until a process listens at a port of this machine. Raises FederationError where it does not come to that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise FederationError(f"Flower's server does not listen at port {port}; {last_words(log)}")


def last_words(log: Path) -> str:
    """Return where a log is and its last line, or the last that tells of an error, for an error message."""
    try:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    lines = [line for line in lines[-40:] if "error" in line.lower()][-1:] or lines
    return f"its log {str(log)!r} says: {_message(lines[-1].strip())!r}" if lines else f"its log {str(log)!r} is empty"


def _message(line: str) -> str:
    """Return what a line of a log says, which may be JSON."""
    try:
        return json.loads(line)["message"]
    except (ValueError, TypeError, KeyError):
        return line


def _short() -> str:
    """Return the folder for temporary files, or /tmp where its path is too long for the sockets below it."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= LONGEST or os.name != "posix" else "/tmp"


def _wait(busy: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while busy() and time.monotonic() < deadline:
        time.sleep(0.05)


def need_unix() -> None:
    """Raise InputError on a system without Unix sockets or process groups."""
    if not hasattr(socket, "AF_UNIX") or os.name != "posix":
        raise InputError("engine: 'deployment' needs Unix sockets, which this system lacks; use Linux, macOS or WSL 2")
