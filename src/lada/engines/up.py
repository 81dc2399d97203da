"""`lada federation up`: run the server and clients of a federation on this machine, to try it out."""

import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

from lada.core.errors import FederationError, InputError
from lada.core.plural import counted, plural
from lada.core.signals import ended_by_signal
from lada.engines.family import Family, alone, last_words, python
from lada.engines.server import READY, online, reach
from lada.engines.server_file import FILE, read_server

SECONDS = 300.0
"""Seconds that all processes together may take to start."""
GRACE = 30.0
"""Seconds that `lada server` and `lada client` may take to end their processes."""


def up(folder: Path, say: Callable[[str], None]) -> None:
    """Run all until SIGTERM or Ctrl-C, which is raised as KeyboardInterrupt; `ready` is said when all are connected.

    Raises InputError if the folder holds no federation, FederationError if one of the processes ends.
    """
    folder = folder.resolve()
    server = read_server(folder / "server" / FILE)
    files = sorted((folder / "clients").glob("*/client.yaml"))
    if not files:
        raise InputError(f"{str(folder)!r} holds no clients; give the folder that `lada federation init` wrote")
    with ended_by_signal(), alone(folder, "lada federation up"), Family(place=folder, grace=GRACE) as family:
        reach(family, server, folder / "server")
        log = folder / "server" / "server.log"
        began = log.stat().st_size if log.exists() else 0
        started = {"server": (_start(family, "server", folder / "server" / FILE, log), log)}
        deadline = time.monotonic() + SECONDS
        while f"{READY}:".encode() not in log.read_bytes()[began:]:
            _look(started, deadline)
        say("the server is up")
        for file in files:
            log = file.parent / "client.log"
            started[file.parent.name] = (_start(family, "client", file, log), log)
        while online(family) < len(files):
            _look(started, deadline)
        say(f"{READY}: {counted(len(files), 'client')} {plural(len(files), 'is', 'are')} connected; Ctrl-C ends all")
        while True:
            _look(started, float("inf"))


def _start(family: Family, what: str, file: Path, log: Path) -> "Popen[bytes]":
    return family.start(python("lada", what, str(file)), log)


def _look(started: "dict[str, tuple[Popen[bytes], Path]]", deadline: float) -> None:
    """Wait a moment. Raises FederationError if a process has ended or the time is up."""
    for name, (process, log) in started.items():
        if process.poll() is not None:
            raise FederationError(f"{name} ended (code {process.returncode}); {last_words(log)}")
    if time.monotonic() > deadline:
        logs = ", ".join(str(log) for _, log in started.values())
        raise FederationError(f"not all clients have connected after {SECONDS:g} s; see {logs}")
    time.sleep(0.5)
