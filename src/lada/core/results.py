"""The typed schema of `results.json`: what a run measured.

Times, and the memory that was used, differ from run to run: they stand under `wall_clock` keys and nowhere else.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lada.core.plural import counted

SCHEMA_VERSION = 1
ROW = ("party", "name", "teacher", "student", "round", "phase", "attack")
"""What tells a row of a report from the others of its sort, as far as it has that."""


class Record(BaseModel):
    """Base of all records: immutable, no unknown key. A loss that is NaN or infinite survives JSON, as "NaN"."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


def _none(value: object) -> bool:
    return not value


class Interval(Record):
    """A mean with its 95 % bootstrap interval, percent; `count` questions are behind it."""

    value: float
    low: float
    high: float
    count: int


class Evaluation(Record):
    """One party after one round (round 0: before anything), on the shared test questions."""

    party: str
    round: int
    overall: Interval
    own: Interval | None
    """Questions of the party's own domains (a client's private data; for the server: domains no client owns)."""
    other: Interval | None
    """All other domains (for the server: the clients' domains)."""
    general: Interval | None
    """Questions that need skill and no domain knowledge; in neither `own`, `other` nor `overall`."""
    new: Interval | None = Field(default=None, exclude_if=_none)
    """Domains that a client's private data lacks and the server's LLM knows (for the server: the clients' domains that
    it does not know); left out of JSON where the task does not say what it knows."""
    mixed: Interval | None = Field(default=None, exclude_if=_none)
    """Questions that mix domains: in neither `own`, `other` nor `new`; left out likewise where there are none."""
    domains: dict[str, Interval]
    difficulty: dict[str, Interval]
    step_validity: float | None
    """Share of the path's steps that follow from the rulebook and the step before, percent; built-in corpus only."""
    calibration_error: float | None
    """Expected calibration error of exp(mean token log-prob) as confidence, 0..1."""
    agreement: float | None
    """Share of test questions on which the party's answer equals the server's of the same round, percent; None for
    the server, and where the test answers of the two are not in one place."""
    cut: int = Field(default=0, exclude_if=_none)
    """Answers that break off at the most tokens that an answer may have; left out of JSON where there are none."""


class PartyInfo(Record):
    """Who took part."""

    name: str
    role: str
    """`server` or `client`."""
    model: str
    architecture: str
    parameters: int
    domains: tuple[str, ...]
    private_samples: int
    weights: str
    """SHA-256 of the final weights; empty for a model behind an API, whose architecture is `api`."""


class StudyRecord(Record):
    """One study of one party."""

    party: str
    round: int
    phase: str
    """`private` or `distil`."""
    steps: int
    lessons: int
    pairs: int
    soft: int = 0
    """Lessons with soft targets or chunks."""
    replayed: int
    tokens: int
    skipped: int = Field(default=0, exclude_if=_none)
    """Steps that changed nothing, since their loss or gradient was not finite; not told under differential privacy."""
    cut: int = Field(default=0, exclude_if=_none)
    """Lessons whose text the model's context does not hold to its end. Both are left out of JSON where they are 0, as
    in every sound study."""
    unfinished: int = Field(default=0, exclude_if=_none)
    """Lessons on answers that were cut when they were written; left out likewise."""
    first_loss: float
    """Mean loss over the first tenth of the steps; NaN where it is not told."""
    last_loss: float
    epsilon: float | None = None
    """Under differential privacy: what all such studies of this party have spent by now, at `delta`."""
    delta: float | None = None

    def faults(self) -> str:
        """Return in words what of a study came to nothing; empty where nothing did."""
        steps, lessons = counted(self.steps, "step"), counted(self.lessons, "lesson")
        told = {
            f"{self.skipped} of {steps} skipped, since loss or gradient was not finite": self.skipped,
            f"{self.cut} of {lessons} cut at the end of the model's context": self.cut,
        }
        return "; ".join(text for text, count in told.items() if count)


class Membership(Record):
    """How well an attacker who has a party's model tells the samples it studied from others of the same domains."""

    party: str
    round: int
    attack: str
    """`loss`: by the model's loss; `gain`: by how much lower it is than before the run."""
    auc: float
    """Chance that a member scores above another, 0..1; 0.5 is no better than guessing. 95 % bootstrap interval."""
    low: float
    high: float
    tpr: float
    """Share (0..1) of members found where at most 1 % of the others are taken for members."""
    members: int
    others: int


class AllocationRecord(Record):
    """One direction of one pair in one round, in sums; row by row it stands in allocations.parquet."""

    teacher: str
    student: str
    round: int
    candidates: int
    chosen: int
    from_teacher: int
    """How many of the chosen samples are learnt by the teacher's path (the rest: by the student's own)."""
    right: float | None
    """Share of the chosen paths whose answer is right, percent; None where no gold answer is known."""
    sound: float | None = None
    """Share of the chosen paths of which every step holds, percent; None where the task cannot say. An answer can be
    right by luck. It is told to people; nothing in a run reads it."""
    styles: dict[str, int] = Field(default={}, exclude_if=_none)
    """How many of the chosen paths are written in which style (lada.tasks.styles), where the task says so; told to
    people likewise."""
    agreement: float
    """Share of all candidates on which teacher and student gave the same answer before the study, percent."""
    trial_tokens: int = Field(default=0, exclude_if=_none)
    """Tokens that the student studied on trial, to see what it learns from; left out of JSON where there are none. They
    are part of the budget of the study that follows."""
    diagnostics: dict[str, float]
    """What the allocator says about itself, such as the AUC of its filter."""


class Missing(Record):
    """A client without which a phase went on."""

    party: str
    round: int
    phase: str
    why: str
    """Silent, failed, died, or a message that was refused. No text of the client's, but for a StudyError's, which has
    numbers alone, in a run on one machine."""


class PartyReport(Record):
    """What a party tells the server about one phase; numbers only."""

    evaluations: tuple[Evaluation, ...] = ()
    studies: tuple[StudyRecord, ...] = ()
    allocations: tuple[AllocationRecord, ...] = ()
    phases: tuple["PhaseTime", ...] = ()
    exchanges: tuple["ExchangeTime", ...] = ()
    parties: tuple["PartyInfo", ...] = ()
    notices: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    memberships: tuple[Membership, ...] = ()
    withheld: tuple["Withheld", ...] = ()


class Traffic(Record):
    """Bytes that crossed the wire as encoded, per round, sender, receiver and kind."""

    round: int
    sender: str
    receiver: str
    kind: str
    messages: int
    bytes: int


class PhaseTime(Record):
    """What one party did when, and with how much memory: seconds since the run began."""

    party: str
    round: int
    phase: str
    start: float
    seconds: float
    peak_memory: int = 0
    """Bytes, measured as lada.models.peak says; 0 where the platform does not tell."""


class ClientTime(Record):
    """The exchange of one message with one client, seconds."""

    party: str
    elapsed: float
    """From sending the message to the complete reply, pieces included; checking it is not counted."""
    computing: float | None
    """How long the client says that it worked on it; None where it does not say, or more than went by."""
    exchange: float | None
    """What of the server's waiting for it was no computing; None where `computing` is."""


class ExchangeTime(Record):
    """The exchange of one phase, seconds; of the clients whose replies came over the wire and were sound.

    Replies that a resumed run had heard before it broke off have no time: their clients, and a phase in which no other
    was asked, are absent. What passed while the server was busy itself is not counted.
    """

    round: int
    phase: str
    waited: float
    """How long the server did nothing but wait, until the last reply was complete."""
    computing: float | None
    """How long the slowest client worked, by its own word; None where one of them does not say."""
    exchange: float | None
    """What of the waiting was not the slowest client's computing; None where `computing` is."""
    clients: tuple[ClientTime, ...]


class Shown(Record):
    """One test question with what was written for it, for the sample browser. Steps: (text, right or wrong)."""

    sample_id: str
    question: str
    answer: str | None
    domain: str
    difficulty: int | None
    party: str
    before: list[tuple[str, bool | None]]
    teacher: list[tuple[str, bool | None]]
    after: list[tuple[str, bool | None]]
    before_right: bool
    teacher_right: bool
    after_right: bool


class Environment(Record):
    """What the run ran on, as far as it can change a result."""

    lada: str
    git: str | None
    python: str
    packages: dict[str, str]
    device: str
    processor: str = ""
    """Its name; empty in files of earlier versions."""
    instructions: str = ""
    """What of its instructions PyTorch and MKL use, such as `AVX2`; empty likewise."""


class WallClock(Record):
    """All times of a run, and the memory its phases took."""

    started: str
    seconds: float
    """From the start to the end, without the pauses before a run that had been interrupted went on."""
    phases: tuple[PhaseTime, ...]
    exchanges: tuple[ExchangeTime, ...] = ()
    """How long messages took, by round and phase."""


class Withheld(Record):
    """What one party kept back in a round, since it would have repeated a distinctive passage of a private sample."""

    party: str
    round: int
    paths: int
    """Paths, or texts with token scores, that it would have told of."""
    sampled_again: int = 0
    """Paths in whose place another one left, which was sampled anew."""
    withheld: int = 0
    """Paths for which none left."""
    scores: int = 0
    """Token scores that did not leave, since the likeliest tokens spell such a passage."""


class Results(Record):
    """A whole run."""

    schema_version: int = SCHEMA_VERSION
    name: str
    config: dict[str, object]
    environment: Environment
    parties: tuple[PartyInfo, ...]
    evaluations: tuple[Evaluation, ...]
    studies: tuple[StudyRecord, ...]
    allocations: tuple[AllocationRecord, ...]
    traffic: tuple[Traffic, ...]
    shown: tuple[Shown, ...]
    notices: tuple[str, ...]
    missing: tuple[Missing, ...] = ()
    """Who did not answer in time, or not soundly; empty where all took part in everything."""
    memberships: tuple[Membership, ...] = ()
    """What the membership-inference audit found; empty where there was none."""
    withheld: tuple[Withheld, ...] = ()
    """What parties kept back of what they wrote; empty where nobody did."""
    noisy: tuple[str, ...] = ()
    """Public samples whose gold answer is wrong on purpose (`task.noise`); no party is told which."""
    wall_clock: WallClock

    def lost(self) -> list[str]:
        """Return a sentence for each client that was missing and each reason: in which rounds and phases, and why."""
        when: dict[tuple[str, str], list[str]] = {}
        for gone in self.missing:
            when.setdefault((gone.party, gone.why), []).append(f"round {gone.round} ({gone.phase})")
        return [f"lost on the way: {party} in {', '.join(each)}: {why}" for (party, why), each in when.items()]

    def faulty_studies(self) -> list[str]:
        """Return a sentence for each study in which steps were skipped or lessons were cut."""
        return [
            f"{study.party}, {study.phase}, round {study.round}: {study.faults()}"
            for study in self.studies
            if study.faults()
        ]

    def of(self, party: str, round: int) -> Evaluation:
        """Return how a party stood after a round: its last evaluation by then, since one that has not changed is not
        evaluated anew. KeyError where there is none."""
        done = [e for e in self.evaluations if e.party == party and e.round <= round]
        if not done:
            raise KeyError((party, round))
        return max(done, key=lambda evaluation: evaluation.round)


def key_of(row: Any) -> Any:
    """Return what tells a row from the others of its sort."""
    return row if isinstance(row, str) else tuple(getattr(row, name, None) for name in ROW)
