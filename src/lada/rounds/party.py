"""A party: one learner, its data and its plug-ins' state. It knows other parties only by their messages."""

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
from lada.core.terms import Sample, Source
from lada.fusers.base import Fuser
from lada.fusers.least_loss import LeastLoss, LeastLossOptions
from lada.hooks.base import Hook
from lada.models.base import Learner, Progress, Studies
from lada.models.objective import Objective
from lada.models.peak import begin_peak, peak_memory
from lada.policies.base import Policy
from lada.privacy.distinctive import Distinctive
from lada.rounds.noted import Noted
from lada.rounds.options import SelfContext
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
    "augmentations": "augmentation",
}
"""The kind of event for each record, by field of PartyReport."""


class Journal(Protocol):
    """A party's work since its last checkpoint, so that a resumed run does not repeat it."""

    def load(self, key: str) -> FilePath | None:
        """Return the folder with the files of an entry; None if there is no complete one."""
        ...

    def save(self, key: str, fill: Callable[[FilePath], None]) -> None:
        """Let `fill` write the files of an entry into an empty folder."""
        ...


@dataclass(frozen=True, slots=True)
class Within:
    """A part of a journal, for a second learner whose studies have the same names as the first one's."""

    journal: Journal
    part: str

    def load(self, key: str) -> FilePath | None:
        """See Journal.load."""
        return self.journal.load(f"{self.part}/{key}")

    def save(self, key: str, fill: Callable[[FilePath], None]) -> None:
        """See Journal.save."""
        self.journal.save(f"{self.part}/{key}", fill)


class NoJournal:
    """Keeps nothing, for a party that does not outlive its process."""

    def load(self, key: str) -> FilePath | None:
        """Return None."""

    def save(self, key: str, fill: Callable[[FilePath], None]) -> None:
        """Do nothing."""


def not_reopened(folder: FilePath) -> Learner:
    """Raise: only a party with a journal has something to reopen."""
    raise LookupError(folder)


def not_opened() -> Learner:
    """Raise: only a party of a run knows where its learner came from."""
    raise LookupError("untrained learner")


KNOWS = "knows"
"""Prefix of the keys in a party's memory for knowledge that is valid for its current weights."""
SHARED_SLM = "shared SLM"
"""The server's copy of a model that all clients share. No configured party can have this name."""


def not_known(client: str) -> int | None:
    """Return None: only a client itself knows its number of private samples."""


def no_slm() -> "Party":
    """Raise: only a server has the configuration of its clients."""
    raise LookupError(SHARED_SLM)


def nothing_distinctive() -> None:
    """Return None: a party without private samples has nothing to withhold."""


@dataclass
class Party:
    """A server or a client. Besides the learner's weights, only `states` and `memory` persist between phases."""

    name: str
    role: str
    learner: Learner
    task: TaskData
    private: tuple[Sample, ...]
    """Samples that only this party has: a client's private data; empty at the server."""
    allocator: Allocator
    objective: Objective
    studies: Studies
    seed: int
    folder: FilePath
    """Folder of this party's own records. Nothing in it crosses the wire."""
    emit: Emit
    clock: Callable[[], float]
    """Seconds since the run began."""
    rounds: int = 1
    """The rounds of the run."""
    temperature: float = 0.0
    """Sampling temperature of the paths that it teaches; 0 is greedy."""
    self_context: SelfContext | None = None
    """How it teaches itself on its private samples; None means that it studies their gold texts."""
    rehearse: float = 0.0
    """Share (0..1) of general questions among the lessons of its private studies."""
    signals: Mapping[str, SignalSpec | None] = field(default_factory=dict)
    """What this party's students ask of it, by name. Others ask for what the party itself asks for."""
    states: dict[str, State] = field(default_factory=dict)
    """States of methods: an allocator's by `teacher>student`, others' by `kind/name/scope`."""
    steps: dict[str, int] = field(default_factory=dict)
    """Number of steps that the party has studied, by the key of the objective's state."""
    memory: dict[str, bytes] = field(default_factory=dict)
    """Encoded knowledge that a later phase needs."""
    noted: Noted = field(default_factory=Noted)
    """Measurements that have not been sent on yet."""
    tried: float = 0.0
    """Share (0..1) of its next distillation study that was spent on trials."""
    saved_as: str = ""
    """The journal entry with the current learner; empty if there is none."""
    journal: Journal = field(default_factory=NoJournal)
    """Work since the last checkpoint."""
    common: Journal | None = None
    """Work of other runs, by its key; None means that none is reused."""
    distinctive: Callable[[], Distinctive | None] = nothing_distinctive
    """Returns which passages of its private samples must not leave; None allows all."""
    hooks: tuple[tuple[str, Hook], ...] = ()
    """Hooks into its studies, by name, in this order."""
    policies: tuple[tuple[str, Policy], ...] = ()
    """Policies on what it sends, by name, in this order."""
    reopen: Callable[[FilePath], Learner] = not_reopened
    """Returns the learner that `Learner.save` wrote to a folder."""
    untrained: Callable[[], Learner] = not_opened
    """Returns a second learner, as the party's own was before the run."""
    open_slm: "Callable[[], Party]" = no_slm
    """At the server: returns a party with the clients' common model as it was before the run. It shares the server's
    states and memory, keeps its journal within the server's, and sends no report of its own."""
    samples_of: Callable[[str], int | None] = not_known
    """At the server: a client's number of private samples, if it is known before the client claims it."""
    fuser: tuple[str, Fuser] = field(default_factory=lambda: ("least_loss", LeastLoss(LeastLossOptions())))
    """The fuser by name, and itself: it decides which path to learn if several parties offer one."""
    codecs: Codecs = field(default_factory=Codecs)
    """The codecs of its messages."""
    limits: Limits = field(default_factory=Limits)
    """Upper limits on what others may send it."""

    def asked_by(self, student: str, texts: Source = "teacher") -> SignalSpec | None:
        """Return what a student asks this party to tell about the texts of one side: this party's or its own."""
        signal = self.signals.get(student, self.objective.needs.signal)
        return signal if signal is not None and texts in signal.texts else None

    @property
    def most_tokens(self) -> int:
        """Maximum number of tokens per position that it asks for or is asked for; 0 means none."""
        asked = (self.objective.needs.signal, *self.signals.values())
        return max((signal.k for signal in asked if signal is not None), default=0)

    @property
    def asking(self) -> Objective:
        """Its objective as its messages must serve it: it needs a signal if a student of its does."""
        own = self.objective.needs.signal
        asked = [signal for signal in (own, *self.signals.values()) if signal is not None]
        texts = tuple(sorted({side for signal in asked for side in signal.texts}, reverse=True))
        if not asked or (own is not None and own.texts == texts):
            return self.objective
        objective = copy(self.objective)
        widest = max(asked, key=lambda signal: signal.k)
        objective.needs = replace(self.objective.needs, signal=replace(own or widest, texts=texts))
        return objective

    def knows(self, what: str) -> str:
        """Return the key of its memory for knowledge that is valid for its current weights."""
        return f"{KNOWS} {self.name} {what}"

    def weights_changed(self, saved_as: str = "") -> None:
        """Forget knowledge of other weights. Call it whenever the learner permanently gets new ones.

        `saved_as` is the journal entry that holds them.
        """
        self.saved_as = saved_as
        for key in [key for key in self.memory if key.startswith(self.knows(""))]:
            del self.memory[key]

    def load_adapter(self, weights: Mapping[str, np.ndarray]) -> None:
        """Let the learner continue with these weights. Raises InputError if they do not fit."""
        self.learner.load_adapter(weights)
        self.weights_changed()

    def note(self, **records: tuple[Any, ...]) -> None:
        """Add records, by field name of PartyReport, to the report. The server, which gets all, also emits events."""
        self.noted.add(records)
        if self.role == "server":
            for name, rows in records.items():
                for row in rows:
                    # By way of JSON text, since that alone has a form for a loss that is NaN.
                    content = {"text": row} if isinstance(row, str) else json.loads(row.model_dump_json())
                    self.emit({"kind": EVENTS[name], **content})

    @property
    def report(self) -> PartyReport:
        """The measurements not yet sent on, as a report; see Noted.report."""
        return self.noted.report()

    def take_report(self) -> PartyReport:
        """Return the report and start an empty one."""
        report, self.noted = self.report, Noted()
        return report

    @contextmanager
    def phase(self, round: int, name: str) -> Iterator[Progress]:
        """Time a phase, emit events for it and its progress, and record the learner's notices."""
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
