"""A party: one learner, its data and its plug-ins' state. It knows nothing of another party but its messages."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any, Protocol

import numpy as np

from lada.allocators.base import Allocator, State
from lada.codecs.base import Codecs
from lada.core.limits import Limits
from lada.core.needs import SignalSpec
from lada.core.results import PartyReport, PhaseTime
from lada.core.terms import Sample
from lada.fusers.base import Fuser
from lada.fusers.least_loss import LeastLoss, LeastLossOptions
from lada.hooks.base import Hook
from lada.models.base import Learner, Progress, Studies
from lada.models.objective import Objective
from lada.models.peak import begin_peak, peak_memory
from lada.policies.base import Policy
from lada.privacy.distinctive import Distinctive
from lada.rounds.noted import Noted
from lada.tasks.data import TaskData

Emit = Callable[[dict[str, Any]], None]
"""Takes one event, a JSON object with at least `kind`, for events.jsonl, the live view and trackers."""

EVENTS = {
    "evaluations": "evaluation",
    "studies": "study",
    "allocations": "allocation",
    "phases": "timing",
    "exchanges": "exchange",
    "parties": "party",
    "notices": "notice",
    "missing": "missing",
    "memberships": "membership",
    "withheld": "withheld",
}
"""What kind of event a record becomes, by its field of PartyReport."""


class Journal(Protocol):
    """What a party has done since its last checkpoint; with it a resumed run does not do the same again."""

    def load(self, key: str) -> FilePath | None:
        """Return the folder with the files of an entry; None where there is none that is whole."""
        ...

    def save(self, key: str, fill: Callable[[FilePath], None]) -> None:
        """Let `fill` write the files of an entry into an empty folder."""
        ...


@dataclass(frozen=True, slots=True)
class Within:
    """A part of a journal: of a second learner, whose studies have the names of the first one's."""

    journal: Journal
    part: str

    def load(self, key: str) -> FilePath | None:
        """See Journal.load."""
        return self.journal.load(f"{self.part}/{key}")

    def save(self, key: str, fill: Callable[[FilePath], None]) -> None:
        """See Journal.save."""
        self.journal.save(f"{self.part}/{key}", fill)


class NoJournal:
    """Keeps nothing: for a party that does not survive its process."""

    def load(self, key: str) -> FilePath | None:
        """Return None."""

    def save(self, key: str, fill: Callable[[FilePath], None]) -> None:
        """Do nothing."""


def not_reopened(folder: FilePath) -> Learner:
    """Raise: only a party with a journal has something to reopen."""
    raise LookupError(folder)


KNOWS = "knows"
"""Begins the keys of a party's memory that hold what it knows by the weights that it has."""
SHARED_SLM = "shared SLM"
"""The server's copy of a model that all clients share. No party of a configuration can be named so."""


def not_known(client: str) -> int | None:
    """Return that nobody but a client itself knows how many private samples it has."""


def no_slm() -> "Party":
    """Raise: only a server has the configuration of its clients."""
    raise LookupError(SHARED_SLM)


def nothing_distinctive() -> None:
    """Return None: a party without private samples has nothing to keep back."""


@dataclass
class Party:
    """Server or client. `states` and `memory` are what survives between phases beside the learner's weights."""

    name: str
    role: str
    learner: Learner
    task: TaskData
    private: tuple[Sample, ...]
    """The samples only this party holds: a client's private data, nothing at the server."""
    allocator: Allocator
    objective: Objective
    studies: Studies
    seed: int
    folder: FilePath
    """Where this party keeps its own records; nothing in it crosses the wire."""
    emit: Emit
    clock: Callable[[], float]
    """Seconds since the run began."""
    rounds: int = 1
    """The rounds of the run."""
    temperature: float = 0.0
    """At which it writes the paths that it teaches; 0: greedily."""
    signals: Mapping[str, SignalSpec | None] = field(default_factory=dict)
    """What the students of this party ask it for, by name; others ask for what the party itself asks."""
    states: dict[str, State] = field(default_factory=dict)
    """What methods remember: an allocator's by `teacher>student`, others' by `kind/name/scope`."""
    steps: dict[str, int] = field(default_factory=dict)
    """How many steps the party has studied, by the key that the objective's state has."""
    memory: dict[str, bytes] = field(default_factory=dict)
    """Encoded knowledge that a later phase needs."""
    noted: Noted = field(default_factory=Noted)
    """What was measured and not yet handed on."""
    tried: float = 0.0
    """The share (0..1) of its next study of what others have for it that was spent on trials."""
    saved_as: str = ""
    """The entry of the journal that holds the learner as it is now; empty where none does."""
    journal: Journal = field(default_factory=NoJournal)
    """What was done since the last checkpoint."""
    common: Journal | None = None
    """What other runs did, by what it is the work of; None: nobody else's work is taken."""
    distinctive: Callable[[], Distinctive | None] = nothing_distinctive
    """Returns which passages of its private samples must not leave it; None: whatever its model writes may."""
    hooks: tuple[tuple[str, Hook], ...] = ()
    """What its studies go through, by name, in this order."""
    policies: tuple[tuple[str, Policy], ...] = ()
    """What takes something out of what it sends, by name, in this order."""
    reopen: Callable[[FilePath], Learner] = not_reopened
    """Returns the learner that `Learner.save` wrote to a folder."""
    open_slm: "Callable[[], Party]" = no_slm
    """At the server: returns a party with the clients' common model as it was before the run. It shares the server's
    states and memory, keeps its journal within the server's, and hands its report to nobody by itself."""
    samples_of: Callable[[str], int | None] = not_known
    """At the server: how many private samples a client has, where that is known before it says so."""
    fuser: tuple[str, Fuser] = field(default_factory=lambda: ("least_loss", LeastLoss(LeastLossOptions())))
    """What says which path it learns where several parties offer one, by name, and itself."""
    codecs: Codecs = field(default_factory=Codecs)
    """What its messages are written and read with."""
    limits: Limits = field(default_factory=Limits)
    """What others may send it at most."""

    def asked_by(self, student: str) -> SignalSpec | None:
        """Return what a student of this party asks it for beside its texts."""
        return self.signals.get(student, self.objective.needs.signal)

    @property
    def most_tokens(self) -> int:
        """The most tokens per position that it asks a teacher for, or is asked for by a student; 0: none."""
        asked = (self.objective.needs.signal, *self.signals.values())
        return max((signal.k for signal in asked if signal is not None), default=0)

    @property
    def asking(self) -> Objective:
        """Its objective as its messages have to serve it: it wants a signal too where a student of its wants one."""
        asked = [signal for signal in self.signals.values() if signal is not None]
        if self.objective.needs.signal is not None or not asked:
            return self.objective
        objective = copy(self.objective)
        objective.needs = replace(self.objective.needs, signal=max(asked, key=lambda signal: signal.k))
        return objective

    def knows(self, what: str) -> str:
        """Return under which key of its memory the party keeps what it knows by the weights that it has."""
        return f"{KNOWS} {self.name} {what}"

    def weights_changed(self, saved_as: str = "") -> None:
        """Forget what was known by other weights: to be called by whatever gives the learner new ones for good.

        `saved_as` is the entry of the journal that holds them.
        """
        self.saved_as = saved_as
        for key in [key for key in self.memory if key.startswith(self.knows(""))]:
            del self.memory[key]

    def load_adapter(self, weights: Mapping[str, np.ndarray]) -> None:
        """Let the learner go on with these weights. Raises InputError where they do not fit."""
        self.learner.load_adapter(weights)
        self.weights_changed()

    def note(self, **records: tuple[Any, ...]) -> None:
        """Add records, by field name of PartyReport, to the report. The server, which receives all, announces them."""
        self.noted.add(records)
        if self.role == "server":
            for name, rows in records.items():
                for row in rows:
                    # By way of JSON text, since that alone has a form for a loss that is NaN.
                    content = {"text": row} if isinstance(row, str) else json.loads(row.model_dump_json())
                    self.emit({"kind": EVENTS[name], **content})

    @property
    def report(self) -> PartyReport:
        """What was measured and not yet handed on, as a report; see Noted.report."""
        return self.noted.report()

    def take_report(self) -> PartyReport:
        """Return the report and begin an empty one."""
        report, self.noted = self.report, Noted()
        return report

    @contextmanager
    def phase(self, round: int, name: str) -> Iterator[Progress]:
        """Time a phase, announce it, give the Progress that reports it live, and note what its learner has to say."""
        begin_peak(self.learner.device)
        start = self.clock()
        self.emit({"kind": "phase", "party": self.name, "round": round, "phase": name})

        def progress(verb: str, done: int, total: int, tokens: int) -> None:
            self.emit(
                {
                    "kind": "progress",
                    "party": self.name,
                    "round": round,
                    "phase": name,
                    "verb": verb,
                    "done": done,
                    "total": total,
                    "tokens": tokens,
                    "seconds": round_to_ms(self.clock() - start),
                }
            )

        yield progress
        seconds = self.clock() - start
        self.note(
            notices=tuple(f"{self.name}: {notice}" for notice in self.learner.take_notices()),
            phases=(
                PhaseTime(
                    party=self.name,
                    round=round,
                    phase=name,
                    start=round_to_ms(start),
                    seconds=round_to_ms(seconds),
                    peak_memory=peak_memory(self.learner.device),
                ),
            ),
        )


def round_to_ms(seconds: float) -> float:
    """Return seconds rounded to milliseconds."""
    return round(seconds, 3)
