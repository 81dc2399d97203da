"""The typed schema of `results.json`: what a run measured.

Times and memory differ from run to run. They are stored under `wall_clock` keys and nowhere else.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lada.core.plural import counted

SCHEMA_VERSION = 1
ROW = ("party", "name", "teacher", "student", "round", "phase", "attack")
"""The fields that identify a row of a report within its kind."""


class Record(BaseModel):
    """Base of all records: immutable, no unknown keys. In JSON, a NaN or infinite loss becomes text such as "NaN"."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


def _none(value: object) -> bool:
    return not value


def _unknown(value: object) -> bool:
    return value is None


class Interval(Record):
    """A mean with its 95 % bootstrap interval, in percent, over `count` questions."""

    value: float
    low: float
    high: float
    count: int


class Evaluation(Record):
    """One party's accuracy after one round (round 0: before the run), on the shared test questions."""

    party: str
    round: int
    overall: Interval
    own: Interval | None
    """The party's own domains (a client's private data; for the server: domains that no client owns)."""
    other: Interval | None
    """All other domains (for the server: the clients' domains)."""
    general: Interval | None
    """Questions that need skill but no domain knowledge. They are not part of `own`, `other` or `overall`."""
    new: Interval | None = Field(default=None, exclude_if=_none)
    """Domains that a client's private data lacks and the server's LLM knows (for the server: the clients' domains that
    it does not know). Omitted from JSON if the task does not say what the LLM knows."""
    mixed: Interval | None = Field(default=None, exclude_if=_none)
    """Questions that mix domains. They are not part of `own`, `other` or `new`. Omitted from JSON if there are none."""
    domains: dict[str, Interval]
    difficulty: dict[str, Interval]
    step_validity: float | None
    """Share of a path's steps that follow from the rulebook and the previous step, in percent; built-in corpora
    only."""
    calibration_error: float | None
    """Expected calibration error of exp(mean token log-prob) as confidence, 0..1."""
    agreement: float | None
    """Share of test questions on which the party's answer equals the server's of the same round, in percent. None for
    the server, and if the test answers of both are not in one place."""
    fidelity: float | None = Field(default=None, exclude_if=_unknown)
    """Rationale fidelity: BLEU of the party's paths for the test questions against the server's of the same round, in
    percent (lada.evaluation.bleu). None, and omitted from JSON, in the same cases as `agreement`."""
    self_bleu: float | None = Field(default=None, exclude_if=_unknown)
    """Self-BLEU of the party's paths for the test questions, in percent; high if they are alike. None, and omitted from
    JSON, if they are in another place than the server."""
    cut: int = Field(default=0, exclude_if=_none)
    """Answers cut at the maximum length. Omitted from JSON if there are none."""


class PartyInfo(Record):
    """A party of the run."""

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
    """Number of lessons with soft targets or chunks."""
    replayed: int
    tokens: int
    skipped: int = Field(default=0, exclude_if=_none)
    """Steps skipped for a non-finite loss or gradient; not reported under differential privacy."""
    cut: int = Field(default=0, exclude_if=_none)
    """Lessons whose text exceeds the model's context. This and `skipped` are omitted from JSON if they are 0, as in
    every sound study."""
    unfinished: int = Field(default=0, exclude_if=_none)
    """Lessons on answers that were cut during generation. Omitted from JSON if there are none."""
    first_loss: float
    """Mean loss over the first tenth of the steps; NaN if it is not reported."""
    last_loss: float
    epsilon: float | None = None
    """Under differential privacy: the total ε of this party's studies so far, at `delta`."""
    delta: float | None = None

    def faults(self) -> str:
        """Return in words what went wrong in a study; empty if nothing did."""
        steps, lessons = counted(self.steps, "step"), counted(self.lessons, "lesson")
        told = {
            f"{self.skipped} of {steps} skipped, since loss or gradient was not finite": self.skipped,
            f"{self.cut} of {lessons} cut at the end of the model's context": self.cut,
        }
        return "; ".join(text for text, count in told.items() if count)


class Membership(Record):
    """How well an attacker with a party's model tells its training samples from others of the same domains."""

    party: str
    round: int
    attack: str
    """`loss`: by the model's loss. `gain`: by how far it is below the loss before the run."""
    auc: float
    """Chance that a member scores above a non-member, 0..1; 0.5 is guessing. `low` and `high` are a 95 % bootstrap
    interval."""
    low: float
    high: float
    tpr: float
    """Share (0..1) of members found at a false-positive rate of at most 1 %."""
    members: int
    others: int


class AllocationRecord(Record):
    """One direction of one pair in one round, in totals. The rows are in allocations.parquet."""

    teacher: str
    student: str
    round: int
    candidates: int
    chosen: int
    from_teacher: int
    """Number of chosen samples learnt from the teacher's path. The rest use the student's own."""
    right: float | None
    """Share of the chosen paths whose answer is right, in percent; None if no gold answer is known."""
    sound: float | None = None
    """Share of the chosen paths with only valid steps, in percent; None if the task cannot check them. An answer can be
    right by luck. This is for display only; nothing in a run reads it."""
    styles: dict[str, int] = Field(default={}, exclude_if=_none)
    """Number of chosen paths per style (lada.tasks.styles), if the task reports it; for display only."""
    agreement: float
    """Share of all candidates on which teacher and student gave the same answer before the study, in percent."""
    trial_tokens: int = Field(default=0, exclude_if=_none)
    """Tokens of the student's trial studies, which are part of the following study's budget. Omitted from JSON if there
    are none."""
    diagnostics: dict[str, float]
    """The allocator's own figures, such as the AUC of its filter."""


class Augmentation(Record):
    """What an augmenter did in one round, and what it cost."""

    party: str
    """The party whose LLM was called."""
    round: int
    method: str
    calls: int
    """Texts that the LLM wrote: questions, and paths that answer them or calibrate a critic. An API bills each once."""
    read: int
    """Tokens of their prompts; 0 if an API does not report them."""
    written: int
    """Tokens of the texts; 0 if an API does not report them."""
    drafts: int
    """Questions in the replies."""
    refused: dict[str, int]
    """Number of drafts that were not kept, by reason. `no calls left` counts questions that were not asked for."""
    kept: int
    pool: int
    """Generated samples after this round."""
    diagnostics: dict[str, float]
    """The augmenter's own figures, such as a critic's threshold."""
    well_formed: float | None = Field(default=None, exclude_if=_unknown)
    """Share of the drafts that passed the checks of their text and are questions of the task, in percent. None if the
    task cannot tell. This and `right` are for display only; nothing in a run reads them."""
    right: float | None = Field(default=None, exclude_if=_unknown)
    """Share of the kept samples whose answer is right, in percent; None if the task cannot tell."""


class Missing(Record):
    """A client that a phase continued without."""

    party: str
    round: int
    phase: str
    why: str
    """It was silent, failed, died, or sent a message that was refused. It contains no text from the client, except a
    StudyError's, which has only numbers, in a run on one machine."""


class PartyReport(Record):
    """A party's report to the server about one phase; only numbers."""

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
    augmentations: tuple["Augmentation", ...] = Field(default=(), exclude_if=_none)


class Traffic(Record):
    """Encoded bytes that crossed the wire, per round, sender, receiver and kind."""

    round: int
    sender: str
    receiver: str
    kind: str
    messages: int
    bytes: int


class PhaseTime(Record):
    """When one party did what, and with how much memory; in seconds since the run began."""

    party: str
    round: int
    phase: str
    start: float
    seconds: float
    peak_memory: int = 0
    """In bytes, measured as in lada.models.peak; 0 if the platform does not report it."""


class ClientTime(Record):
    """The exchange of one message with one client, seconds."""

    party: str
    elapsed: float
    """From sending the message to the complete reply, pieces included. Checking the reply is not counted."""
    computing: float | None
    """The client's claimed computing time. None if it makes no claim, or claims more than the elapsed time."""
    exchange: float | None
    """The server's waiting time without the client's computing; None if `computing` is None."""


class ExchangeTime(Record):
    """The exchange of one phase, in seconds, over the clients whose replies crossed the wire and were sound.

    Replies that a resumed run received before it broke off have no time. Their clients are absent, and so is a phase in
    which no other client was asked. Time in which the server itself was busy is not counted.
    """

    round: int
    phase: str
    waited: float
    """How long the server only waited, until the last reply was complete."""
    computing: float | None
    """The slowest client's claimed computing time; None if one of them makes no claim."""
    exchange: float | None
    """The waiting time without the slowest client's computing; None if `computing` is None."""
    clients: tuple[ClientTime, ...]


class Shown(Record):
    """One test question with its paths, for the sample browser. Steps are (text, right or wrong)."""

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
    """The environment of the run, as far as it can change results."""

    lada: str
    git: str | None
    python: str
    packages: dict[str, str]
    device: str
    processor: str = ""
    """Name of the processor; empty in files of earlier versions."""
    instructions: str = ""
    """The processor instructions that PyTorch and MKL use, such as `AVX2`; empty in files of earlier versions."""


class WallClock(Record):
    """All times of a run, and the memory of its phases."""

    started: str
    seconds: float
    """From start to end, without the pauses before an interrupted run was resumed."""
    phases: tuple[PhaseTime, ...]
    exchanges: tuple[ExchangeTime, ...] = ()
    """How long messages took, by round and phase."""


class Withheld(Record):
    """What one party withheld in a round, since it would have repeated a distinctive passage of a private sample."""

    party: str
    round: int
    paths: int
    """Paths, or texts with token scores, that it was about to send."""
    sampled_again: int = 0
    """Paths that were replaced by newly sampled ones."""
    withheld: int = 0
    """Paths that were not sent at all."""
    scores: int = 0
    """Token scores that were not sent, since the likeliest tokens spell such a passage."""


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
    """Clients that did not answer in time or not soundly; empty if all took part in everything."""
    memberships: tuple[Membership, ...] = ()
    """Results of the membership-inference audit; empty without one."""
    withheld: tuple[Withheld, ...] = ()
    """What parties withheld of their own texts; empty if there is nothing."""
    augmentations: tuple[Augmentation, ...] = Field(default=(), exclude_if=_none)
    """What an augmenter did and cost, by round. Omitted from JSON without one."""
    noisy: tuple[str, ...] = ()
    """Public samples whose gold answer is deliberately wrong (`task.noise`), or that show no digit (`task.web`). No
    party knows which they are."""
    wall_clock: WallClock

    def lost(self) -> list[str]:
        """Return a sentence for each missing client and reason: in which rounds and phases, and why."""
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
        """Return a party's last evaluation by the end of a round, since an unchanged party is not evaluated again.

        Raises KeyError if there is none.
        """
        done = [e for e in self.evaluations if e.party == party and e.round <= round]
        if not done:
            raise KeyError((party, round))
        return max(done, key=lambda evaluation: evaluation.round)


def key_of(row: Any) -> Any:
    """Return what identifies a row within its kind."""
    return row if isinstance(row, str) else tuple(getattr(row, name, None) for name in ROW)
