"""Follows a run through its folder only: its events, and whether a process is working on it."""

import json
import time
from pathlib import Path
from typing import Literal

import yaml

from lada.core.errors import InputError
from lada.core.results import Record
from lada.federation.events import EVENTS, PLACE, Tail
from lada.federation.run_folder import CONFIG
from lada.federation.run_lock import is_locked
from lada.watching.health import Health, PartyHealth

State = Literal["waiting", "running", "finished", "failed", "stopped"]


class Missed(Record):
    """A phase that continued without a client."""

    round: int
    phase: str
    why: str


class Loss(Record):
    """How a study changed the loss: means over the first and the last tenth of its steps."""

    round: int
    phase: str
    first: float
    last: float


class PartySnapshot(Record):
    """The state of a party. Bytes are what it sent and received; accuracies are percent, by scope."""

    name: str
    doing: str
    """`asked`, `working`, `answered`, `missing`, `failed` or `nothing`; see lada.watching.health."""
    round: int | None
    """The round and phase that it was last asked for or worked in."""
    phase: str | None
    verb: str | None
    """This field and the next three describe its current work."""
    done: int | None
    total: int | None
    tokens_per_second: float | None
    tokens: int
    last_seen: float | None
    """Unix time, seconds."""
    sent: int
    received: int
    missed: int
    """The number of phases in which it was missing."""
    last_missed: Missed | None
    evaluated: int | None
    """The round to which `accuracy` belongs."""
    accuracy: dict[str, float]
    change: float | None
    """The change of overall accuracy since round 0, percentage points."""
    losses: tuple[Loss, ...]
    """The last study of each phase, newest last."""
    error: str | None = None
    """Why this party made the run fail."""


class Snapshot(Record):
    """The state of a run."""

    run: str
    state: State
    """`waiting` until the first round begins; `stopped` also if the run was killed and has no end event."""
    round: int | None
    rounds: int | None
    started: float
    """Unix time, seconds."""
    elapsed: float
    """Seconds since the run began; for a run that is over, up to its last event."""
    parties: tuple[PartySnapshot, ...]
    """The server first, if it is known, then the clients by name."""
    notices: tuple[str, ...]
    unreadable: int
    """Lines of events.jsonl that could not be read."""

    @property
    def over(self) -> bool:
        """Whether no process works on the run any more."""
        return self.state in ("finished", "failed", "stopped")


class Watch:
    """Follows one run. Each look reads only what is new since the last one, and writes nothing."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError if the folder is not a run's."""
        self.folder = folder.resolve()
        self._started = _started(self.folder)
        self._tail = Tail(self.folder / EVENTS)
        self._health, self._rewritten = Health(), 0

    def look(self) -> Snapshot:
        """Return the current state of the run."""
        at_work = is_locked(self.folder)  # before the events: a run writes its end first, then releases the folder
        for event in self._tail.new():
            self._fresh().take(event)
        health = self._fresh()
        state = self._state(at_work)
        over = state in ("finished", "failed", "stopped")
        parties = health.parties or {name: PartyHealth() for name in _configured(self.folder)}
        names = sorted(parties, key=lambda name: (name != (health.server or next(iter(parties))), name))
        return Snapshot(
            run=self.folder.name,
            state=state,
            round=health.round,
            rounds=health.rounds,
            started=self._started,
            elapsed=health.time if over else max(time.time() - self._started, 0.0),
            parties=tuple(self._party(name, parties[name]) for name in names),
            notices=tuple(health.notices),
            unreadable=health.unreadable + self._tail.unreadable,
        )

    def _fresh(self) -> Health:
        """Return the state computed so far from the current file."""
        if self._tail.rewritten != self._rewritten:
            self._health, self._rewritten = Health(), self._tail.rewritten
        return self._health

    def _state(self, at_work: bool) -> State:
        health = self._health
        if at_work or health.name is None:
            return "running" if health.begun else "waiting"
        handed = [file for file in self.folder.glob("submission-*.json") if not file.with_suffix(".outcome").exists()]
        if handed:
            return "waiting"  # for Flower to begin it
        return "finished" if health.status == "finished" else "failed" if health.status == "failed" else "stopped"

    def _party(self, name: str, party: PartyHealth) -> PartySnapshot:
        work = party.work
        verb = work if work and work.verb and party.doing == "working" else None
        missed = [Missed(round=round, phase=phase, why=why) for (round, phase), why in party.missed.items()]
        return PartySnapshot(
            name=name,
            doing=party.doing,
            round=work.round if work else None,
            phase=work.phase if work else None,
            verb=verb.verb if verb else None,
            done=verb.done if verb else None,
            total=verb.total if verb else None,
            tokens_per_second=verb.speed if verb else None,
            tokens=party.tokens,
            last_seen=None if party.seen is None else self._started + party.seen,
            sent=party.sent,
            received=party.received,
            missed=len(missed),
            last_missed=missed[-1] if missed else None,
            evaluated=party.evaluated,
            accuracy=party.accuracy,
            change=party.change,
            losses=tuple(
                Loss(round=round, phase=phase, first=first, last=last)
                for phase, (round, first, last) in party.losses.items()
            ),
            error=party.error,
        )


def _configured(folder: Path) -> tuple[str, ...]:
    """Return the parties of a run without events, the server first; () if they are unknown."""
    try:
        config = yaml.safe_load((folder / CONFIG).read_bytes())
        return (str(config["server"]["name"]), *(str(client["name"]) for client in config["clients"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
        return ()


def _started(folder: Path) -> float:
    """Return when a run began, Unix time."""
    try:
        return float(json.loads((folder / PLACE).read_bytes())["started"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{str(folder)!r} is not the folder of a run: it lacks a valid {PLACE}; expected a folder such as "
            "runs/demo, which `lada run` makes when it begins"
        ) from error
