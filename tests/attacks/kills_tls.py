"""Kill one process of a deployment over TLS with SIGKILL during a run, to hang, lose or change the run.

The ServerApp, the SuperLink, a worker, a SuperNode and the submitting command die, twice each, at random moments. A
run may continue, or end with an error within a bound. Then `lada run --resume` has to complete it: bit for bit like a
local run, or with the missing party on record. One federation serves all kills.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import harness
import psutil

sys.path.append(str(harness.ROOT / "tests"))
VICTIMS = ("serverapp", "superlink", "worker", "supernode", "submitter")
EACH = 2
BOUND = 300.0
"""Most seconds for a run to end, and for anything to start; on an idle machine each takes a tenth of that."""
MOMENTS = ('"kind": "run"', '"phase": "private"', '"phase": "contribute"', '"phase": "learn"')


class Federation:
    """A server and two clients, each started by its own command."""

    def __init__(self, folder: Path) -> None:
        from federations import write  # pyright: ignore[reportMissingImports]

        from lada.engines.family import free_port
        from lada.engines.setup import init

        self.folder = folder
        self.file = write(folder)
        self.names = init(self.file, folder / "fed", port=free_port())
        self.server: subprocess.Popen[bytes] | None = None
        self.clients: dict[str, subprocess.Popen[bytes]] = {}

    def lada(self, *words: str, log: str = "out.log") -> "subprocess.Popen[bytes]":
        """Start a command; what it prints goes to a log."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(harness.ROOT / "src"), *sys.path])}
        with (self.folder / log).open("ab") as out:
            return subprocess.Popen([sys.executable, "-m", "lada", *words], stdout=out, stderr=out, env=environment)

    def up(self) -> None:
        """Start what does not run, and wait until the server is ready."""
        log = self.folder / "server.log"
        if self.server is None or self.server.poll() is not None:
            log.unlink(missing_ok=True)
            self.server = self.lada("server", str(self.folder / "fed" / "server" / "server.yaml"), log=log.name)
            within(lambda: log.exists() and b"ready" in log.read_bytes(), "the server is ready")
        for name in self.names:
            if name not in self.clients or self.clients[name].poll() is not None:
                file = self.folder / "fed" / "clients" / name / "client.yaml"
                self.clients[name] = self.lada("client", str(file), log="clients.log")

    def run(self, name: str) -> "subprocess.Popen[bytes]":
        """Begin a run, or continue it."""
        server = self.folder / "fed" / "server"
        words = ("--engine", "deployment", "--federation", str(server), "--runs", str(self.folder / "runs"))
        return self.lada("run", str(server / "run.yaml"), *words, "--name", name, "--resume")

    def victim(self, kind: str, run: Path, submitter: int) -> int | None:
        """Return the id of the process to kill, or None if there is none yet."""
        assert self.server is not None
        if kind == "submitter":
            return submitter
        if kind == "serverapp":
            ids = [file.read_text() for file in run.glob("submission-*.pid")]
            return int(ids[0]) if ids and ids[0] else None
        above = self.server.pid if kind == "superlink" else self.clients[self.names[0]].pid
        mark = "lada.engines.worker" if kind == "worker" else kind
        for child in psutil.Process(above).children(recursive=True):
            try:
                if mark in " ".join(child.cmdline()):
                    return child.pid
            except psutil.Error:
                continue
        return None


@contextmanager
def federation(folder: Path) -> Iterator[Federation]:
    """Give a federation that is up; end it."""
    fed = Federation(folder)
    try:
        fed.up()
        yield fed
    finally:
        for process in (fed.server, *fed.clients.values()):
            if process is not None:
                process.send_signal(signal.SIGTERM)
        for process in (fed.server, *fed.clients.values()):
            if process is not None:
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()


def within(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds. Raises TimeoutError, saying what did not happen, after BOUND seconds."""
    deadline = time.monotonic() + BOUND
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {BOUND:g} s: {what}")
        time.sleep(0.05)


def kill(fed: Federation, kind: str, number: int, rng: random.Random, expected: object) -> str | None:
    """Kill a process amid a run and bring the run to its end; return what went wrong."""
    name = f"{kind}-{number}"
    folder = fed.folder / "runs" / name
    process = fed.run(name)
    try:
        return _kill(fed, kind, process, folder, rng, expected)
    finally:
        if process.poll() is None:
            process.terminate()


def _kill(
    fed: Federation, kind: str, process: "subprocess.Popen[bytes]", folder: Path, rng: random.Random, expected: object
) -> str | None:
    from federations import comparable  # pyright: ignore[reportMissingImports]

    from lada.core.results import Results

    moment, more = rng.choice(MOMENTS), rng.uniform(0, 1)
    events = folder / "events.jsonl"
    within(lambda: (events.exists() and moment in events.read_text()) or process.poll() is not None, moment)
    time.sleep(more)
    victim = fed.victim(kind, folder, process.pid)
    if victim is None:
        return "there was nobody to kill"
    os.kill(victim, signal.SIGKILL)
    within(lambda: process.poll() is not None, f"the end of a run whose {kind} was killed")
    deadline = time.monotonic() + 2 * BOUND
    while process.poll() != 0:
        if time.monotonic() > deadline:
            return f"--resume does not complete: {(fed.folder / 'out.log').read_text()[-1500:]}"
        time.sleep(1)
        fed.up()
        process = fed.run(folder.name)
        within(lambda: process.poll() is not None, f"the end of a resumed run whose {kind} was killed")  # noqa: B023
    results = Results.model_validate_json((folder / "results.json").read_bytes())
    if {**comparable(results), "name": ""} != expected and not results.missing:
        return f"other results: {folder}"
    return None


def attack(each: int = EACH, victims: tuple[str, ...] = VICTIMS, seed: int = 0) -> harness.Count:
    """Kill `each` times each of the `victims`."""
    from federations import comparable  # pyright: ignore[reportMissingImports]

    import lada

    rng, wrong = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as temporary, federation(Path(temporary)) as fed:
        local = comparable(lada.run(fed.file, runs=Path(temporary) / "local", overrides=("workers=0",)))
        expected = {**local, "name": ""}  # each run over the federation has a name of its own
        for number in range(each):
            for kind in victims:
                began = time.monotonic()
                try:
                    fed.up()
                    fault = kill(fed, kind, number, rng, expected)
                except (OSError, TimeoutError) as error:
                    fault = f"{error}: {(fed.folder / 'out.log').read_text()[-1500:]}"
                told = json.dumps([kind, number, fault, round(time.monotonic() - began)])
                print(told, file=sys.stderr, flush=True)
                wrong += fault is not None
    outcome = "The run continues or ends with an error. Resumed, it ends bit for bit like a local run."
    return harness.Count(each * len(victims), wrong, outcome)


if __name__ == "__main__":
    harness.main(attack)
