"""Submits a run to Flower and follows it: the submitting process and the ServerApp exchange files.

A ServerApp lives in one of Flower's processes. It reads what to run from `submission-….json` in the run's folder and
writes events and results there as any run does. In `….outcome` it records how it ended.
"""

import json
import os
import re
import secrets
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from lada.config import RunConfig, make_config
from lada.core import errors
from lada.core.errors import FederationError, InputError, LadaError
from lada.core.results import Results
from lada.core.signals import uninterrupted
from lada.engines.binding import read_binding
from lada.engines.family import GRACE, Family, flower, last_words
from lada.federation import run_folder
from lada.federation.bound import Binding
from lada.federation.events import EVENTS, Tail, mend, to_file
from lada.federation.parties import Place
from lada.federation.run_lock import run_lock
from lada.rounds.party import Emit
from lada.trackers.base import Status

KEY = "submission"
"""The key of Flower's run configuration that names the file."""
LOG = "flower.log"
APP = """\
[project]
name = "lada-run"
version = "1.0.0"
dependencies = []
[tool.flwr.app]
publisher = "lada"
[tool.flwr.app.components]
serverapp = "lada.engines.server_app:server_app"
clientapp = "lada.engines.simulated:client_app"
[tool.flwr.app.config]
submission = ""
"""
"""The app that is submitted to Flower: it has no code, only the names of this package's apps."""


def submit(
    family: Family,
    config: RunConfig,
    place: Place,
    emit: Emit,
    *,
    superlink: str,
    options: Sequence[str] = (),
    federation: Path | None = None,
) -> Results:
    """Submit a run to a SuperLink that Flower's configuration names, follow it to its end, and return its results.

    `federation` is the folder of a deployment's server, which records each client's node.

    Raises the ServerApp's error with the same text, or FederationError if it ended without one. A KeyboardInterrupt
    stops it.
    """
    file = place.folder / f"submission-{secrets.token_hex(4)}.json"
    wanted = {"config": config.model_dump(mode="json"), "directory": str(Path.cwd())}
    if federation:
        wanted["federation"] = str(federation.resolve())
    file.write_text(json.dumps(wanted), encoding="utf-8")
    app = family.folder / "app"
    app.mkdir()
    (app / "pyproject.toml").write_text(APP, encoding="utf-8")
    wish = family.folder / "run.toml"
    wish.write_text(f"{KEY} = {json.dumps(str(file))}\n", encoding="utf-8")
    log = place.folder / LOG
    begin = log.stat().st_size if log.exists() else 0
    command = flower("flwr", "run", str(app), superlink, "--stream", "--run-config", str(wish), *options)
    file_of_events = place.folder / EVENTS
    events = Tail(file_of_events, file_of_events.stat().st_size if file_of_events.exists() else 0)
    try:
        stream = family.start(command, log)
        while stream.poll() is None or (not _outcome(file).exists() and _is_alive(_at_work(file))):
            _tell(events, emit)
            _raise_where_it_was_killed(file, log)
            time.sleep(0.1)
        _tell(events, emit)
        _raise_where_it_was_killed(file, log)
        _raise_what_was_told(file, log)
    except BaseException as error:
        with uninterrupted():
            _stop(family, superlink, log, begin, file)
            _close(place, "stopped" if isinstance(error, KeyboardInterrupt) else "failed")
            _tell(events, emit)
        raise
    finally:
        for one in (file, _outcome(file), _pid(file)):
            one.unlink(missing_ok=True)
    return Results.model_validate_json((place.folder / "results.json").read_bytes())


def read(submission: str) -> tuple[RunConfig, Place]:
    """Return what to run, and where. Raises InputError if the folder is not a run's."""
    file = Path(submission)
    _, place = run_folder.read(file.parent)
    return make_config(json.loads(file.read_bytes())["config"]), place


def binding(submission: str) -> Binding | None:
    """Return each client's node; None outside a deployment. Raises InputError as `read_binding` does."""
    wanted = json.loads(Path(submission).read_bytes())
    names = [client["name"] for client in wanted["config"]["clients"]]
    return read_binding(Path(wanted["federation"]), names) if "federation" in wanted else None


@contextmanager
def told(submission: str) -> Iterator[None]:
    """Record which process works on a submission, and how that ended. Errors raised within pass through, except that a
    KeyboardInterrupt becomes an error that Flower reports.

    The work is done in the submitter's directory, since names of models may be paths relative to it.
    """
    file, outcome = Path(submission), {}
    os.chdir(json.loads(file.read_bytes())["directory"])
    _pid(file).write_text(str(os.getpid()), encoding="utf-8")
    try:
        yield
    except LadaError as error:
        outcome = {"kind": type(error).__name__, "text": str(error)}
        raise
    except KeyboardInterrupt:
        outcome = {"kind": "FederationError", "text": "the run was stopped at the server; continue with --resume"}
        raise FederationError(outcome["text"]) from None
    except BaseException as error:
        outcome = {"kind": "FederationError", "text": f"the server failed: {type(error).__name__}: {error}"}
        raise
    finally:
        staged = file.with_suffix(".next")
        staged.write_text(json.dumps(outcome), encoding="utf-8")
        staged.replace(_outcome(file))


def _outcome(file: Path) -> Path:
    return file.with_suffix(".outcome")


def _pid(file: Path) -> Path:
    return file.with_suffix(".pid")


def _at_work(file: Path) -> int:
    """Return the id of the ServerApp's process; -1 if none has started."""
    try:
        return int(_pid(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return -1


def _is_alive(pid: int) -> bool:
    """Return whether a process is alive and not a zombie: SuperExec reaps none of the processes that it starts."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except (psutil.Error, ValueError):
        return False


def _raise_where_it_was_killed(file: Path, log: Path) -> None:
    """Raise FederationError if the ServerApp's process is gone without having recorded how it ended."""
    at_work = _at_work(file)
    if at_work > 0 and not _is_alive(at_work) and not _outcome(file).exists():  # in this order: it records, then ends
        raise FederationError(
            f"the run's ServerApp (process {at_work}) was killed, or Flower failed around it; {last_words(log)}. What "
            "was computed is kept: continue with --resume"
        )


def _raise_what_was_told(file: Path, log: Path) -> None:
    if not _outcome(file).exists():
        raise FederationError(f"the server's process ended without an error message; {last_words(log)}")
    outcome = json.loads(_outcome(file).read_bytes())
    if outcome:
        raise getattr(errors, outcome["kind"], FederationError)(outcome["text"])


def _stop(family: Family, superlink: str, log: Path, begin: int, file: Path) -> None:
    """End a submission's work: tell Flower, and end the ServerApp, which Flower would let run on for a while."""
    with log.open("rb") as text:
        text.seek(begin)
        started = re.search(rb"Successfully started run (\d+)", text.read())
    if started and not _outcome(file).exists():
        family.call(flower("flwr", "stop", started[1].decode(), superlink))
        at_work = _at_work(file)
        for number in (signal.SIGTERM, signal.SIGKILL):  # the second if the machine is too busy for an orderly end
            if _is_alive(at_work):
                with suppress(OSError):  # a service of another user; Flower ends it within half a minute
                    os.kill(at_work, number)
                deadline = time.monotonic() + GRACE
                while _is_alive(at_work) and time.monotonic() < deadline:
                    time.sleep(0.05)


def _close(place: Place, status: Status) -> None:
    """Write the end of a run whose process could not: in a simulation it runs in a thread, which no signal reaches."""
    file = place.folder / EVENTS
    with suppress(InputError), run_lock(place.folder):  # a process still works on it and will write it
        mend(file)
        last = deque(Tail(file).new(), maxlen=1)
        if last and last[0].get("kind") != "end":
            to_file(place)({"kind": "end", "status": status})


def _tell(events: Tail, emit: Emit) -> None:
    """Pass on new events."""
    for event in events.new():
        emit(event)
