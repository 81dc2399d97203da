"""The outcome of one cell of a suite: the figures behind every table, and the verdict on each test question."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from lada.bench.cell import Cell, CellKey
from lada.bench.layers import MaybeTrack
from lada.codecs import times
from lada.codecs.paths import decode
from lada.core.nested import differences
from lada.core.results import Environment, Evaluation, Interval, Record, Results
from lada.core.sealed import unseal
from lada.core.terms import Path as ReasoningPath
from lada.evaluation.diversity import distinct_n
from lada.federation import ledger
from lada.federation.events import EVENTS, Tail
from lada.federation.parties import read_task
from lada.federation.run_folder import read
from lada.report.reading import read_results
from lada.report.view import mean

AREAS = tuple(
    name for name, field in Evaluation.model_fields.items() if field.annotation in (Interval, Interval | None)
)
"""The groups of questions with an accuracy in an evaluation, `overall` first."""
DIGITS = 4


def _empty(counts: dict[str, int]) -> bool:
    return not counts


def _unknown(count: int | None) -> bool:
    return count is None


class PartyOutcome(Record):
    """One party of a cell, before the first round and after the last."""

    role: str
    """`server` or `client`."""
    model: str
    before: dict[str, float | None]
    """Accuracy before the first round by area (overall, own, other, general and any others), percent; None without
    questions."""
    after: dict[str, float | None]
    """The same after the last round."""
    calibration_error: float | None
    """Expected calibration error after the last round, 0..1."""
    agreement: float | None
    """Share of test questions on which a client gives the server's answer, percent."""
    step_validity: float | None
    """Share of the right steps in its paths, percent."""
    distinct_2: float | None
    """Share of different pairs of words in its paths, 0..1."""
    fidelity: float | None = None
    """Rationale fidelity: BLEU of a client's paths against the server's, percent; None in cells of earlier versions."""
    self_bleu: float | None = None
    """Self-BLEU of its paths, percent; None likewise."""
    tokens: int
    """Tokens it studied."""
    trial_tokens: int
    """Tokens that its filter spent on trials, in addition."""
    lessons: int
    """Lessons of its studies, over all rounds."""
    updates: int
    """Steps of its studies."""
    judged: int
    """Texts of others that it judged before its choice."""
    right: str
    """The test questions (of `overall`, in the task's order) that it answered right at the end: bits as hex."""

    @property
    def spent(self) -> int:
        """Return the tokens that it studied, including its filter's trials; its budget covers both."""
        return self.tokens + self.trial_tokens

    def verdicts(self, count: int) -> np.ndarray:
        """Return `right` as float64 [count], with 1 for a right answer."""
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(self.right), np.uint8), count=count)
        return bits.astype(np.float64)


class Cost(Record):
    """Costs that differ between machines and between runs."""

    seconds: float
    """Seconds from start to end in one process, including work that was taken from other cells."""
    peak_memory: int
    """The peak memory of any phase, bytes."""


class Outcome(Record):
    """One cell. Everything except `wall_clock` is exactly the same in the same `environment`."""

    scenario: str
    row: str
    world: int
    seed: int
    track: MaybeTrack
    budget: float
    setting: str
    """These are as in CellKey."""
    digest: str
    """The digest of the configuration, as in Cell.digest."""
    questions: int
    """The number of test questions of `overall`."""
    members: dict[str, PartyOutcome]
    """By party."""
    bytes: int
    """The traffic. Messages that a resumed run sent again count once."""
    from_teacher: int
    """The number of a teacher's paths that were chosen, over all directions and rounds."""
    chosen_right: float | None
    """Share of the chosen paths whose answer is right, percent; None if nothing was chosen or it is unknown."""
    chosen_sound: float | None
    """Share of the chosen paths with only right steps, percent; None likewise."""
    styles: dict[str, int] = Field(default={}, exclude_if=_empty)
    """The number of chosen paths in each style, if the task reports styles; see lada.tasks.styles."""
    drafts: int | None = Field(default=None, exclude_if=_unknown)
    """The number of questions that an augmenter's LLM wrote; None without an augmenter."""
    kept: int | None = Field(default=None, exclude_if=_unknown)
    """The number of these that became public samples; None likewise."""
    calls: int | None = Field(default=None, exclude_if=_unknown)
    """The number of texts that its LLM wrote: questions, and paths that answer them or calibrate a critic."""
    written: int | None = Field(default=None, exclude_if=_unknown)
    """Tokens of these texts."""
    notices: int
    """The number of the run's notices."""
    suite: str
    """The digest of the suite's file when the cell was run."""
    hypotheses: tuple[str, ...]
    """The digest of each hypothesis in it at that time."""
    environment: Environment
    wall_clock: Cost

    @property
    def key(self) -> CellKey:
        """Return the key that identifies it among the cells of its suite."""
        return CellKey(*(getattr(self, name) for name in CellKey._fields))

    def __str__(self) -> str:
        return str(self.key)

    def differences(self, other: "Outcome") -> dict[str, tuple[Any, Any]]:
        """Return the differences of two outcomes: both values by their dotted key. Values that depend on the machine or
        on the rest of the suite's file are ignored."""
        untold = {"environment", "wall_clock", "suite", "hypotheses"}
        mine, others = (each.model_dump(exclude=untold) for each in (self, other))
        return differences(mine, others)

    def clients(self) -> list[PartyOutcome]:
        """Return the clients, sorted by name."""
        return [member for _, member in sorted(self.members.items()) if member.role == "client"]

    def mean(self, area: str) -> float | None:
        """Return the clients' mean accuracy in an area after the last round, percent; None if unknown."""
        return mean(client.after.get(area) for client in self.clients())

    def server(self) -> PartyOutcome:
        """Return the server."""
        return next(member for member in self.members.values() if member.role == "server")


def outcome(cell: Cell, folder: Path) -> Outcome:
    """Return the outcome of a finished run. Raises InputError if its folder has no results."""
    results = read_results(folder)
    config, place = read(folder)
    task = read_task(config, place.base)
    counted = [sample.id for sample in task.test if sample.domain not in task.general]
    evaluated = {e.party for e in results.evaluations}
    return Outcome(
        **cell.key._asdict(),
        digest=cell.digest,
        questions=len(counted),
        members={
            party.name: _member(results, party.name, party.role, party.model, folder, counted)
            for party in results.parties
            if party.name in evaluated
        },
        bytes=_bytes(ledger.read(folder)),
        from_teacher=sum(row.from_teacher for row in results.allocations),
        chosen_right=_of_chosen((row.right, row.chosen) for row in results.allocations),
        chosen_sound=_of_chosen((row.sound, row.chosen) for row in results.allocations),
        styles=dict(sorted(sum((Counter(row.styles) for row in results.allocations), Counter()).items())),
        drafts=_augmented(results, "drafts"),
        kept=_augmented(results, "kept"),
        calls=_augmented(results, "calls"),
        written=_augmented(results, "written"),
        notices=len(results.notices),
        suite=cell.written.suite,
        hypotheses=cell.written.hypotheses,
        environment=results.environment,
        wall_clock=Cost(
            seconds=round(results.wall_clock.seconds + sum(_taken(folder).values()), 3),
            peak_memory=max((phase.peak_memory for phase in results.wall_clock.phases), default=0),
        ),
    )


def _taken(folder: Path) -> dict[tuple[str, int, str], float]:
    """Return the seconds of work that a run took from others, by party, round and phase; see
    lada.rounds.cached_phase."""
    events = (event for event in Tail(folder / EVENTS).new() if event["kind"] == "taken")
    return {(event["party"], event["round"], event["phase"]): event["seconds"] for event in events}


def _augmented(results: Results, figure: str) -> int | None:
    """Return a figure of an augmenter, summed over all rounds; None without one."""
    rounds = results.augmentations
    return sum(getattr(each, figure) for each in rounds) if rounds else None


def _bytes(rows: Iterable[ledger.LedgerRow]) -> int:
    """Return the traffic in bytes. What is sent again after an interruption counts once; only its times differ."""
    return sum(row.bytes for row in {replace(row, digest="") if row.kind == times.KIND else row for row in rows})


def _of_chosen(shares: Iterable[tuple[float | None, int]]) -> float | None:
    """Return the mean of shares, weighted by the number chosen; None if nothing is known."""
    known = [(share, count) for share, count in shares if share is not None and count]
    return round(sum(s * n for s, n in known) / sum(n for _, n in known), DIGITS) if known else None


def _member(results: Results, name: str, role: str, model: str, folder: Path, counted: list[str]) -> PartyOutcome:
    mine = sorted((e for e in results.evaluations if e.party == name), key=lambda e: e.round)
    last = mine[-1]
    paths = _paths(folder, name, last.round)
    right = [bool(paths[i].right) if i in paths else False for i in counted]
    varied = distinct_n(paths[i].text for i in counted if i in paths)
    studies = [study for study in results.studies if study.party == name]
    chosen = [row for row in results.allocations if row.student == name]
    return PartyOutcome(
        role=role,
        model=model,
        before=_accuracy(mine[0]),
        after=_accuracy(last),
        calibration_error=last.calibration_error,
        agreement=last.agreement,
        step_validity=last.step_validity,
        distinct_2=None if varied is None else round(varied, DIGITS),
        fidelity=last.fidelity,
        self_bleu=last.self_bleu,
        tokens=sum(study.tokens for study in studies),
        trial_tokens=sum(row.trial_tokens for row in chosen),
        lessons=sum(study.lessons for study in studies),
        updates=sum(study.steps for study in studies),
        judged=sum(row.candidates for row in chosen),
        right=np.packbits(np.array(right, bool)).tobytes().hex(),
    )


def _accuracy(evaluation: Evaluation) -> dict[str, float | None]:
    areas = {area: getattr(evaluation, area) for area in AREAS}
    return {area: None if interval is None else interval.value for area, interval in areas.items()}


def _paths(folder: Path, party: str, round: int) -> dict[str, ReasoningPath]:
    file = folder / "clients" / party / f"test-paths-{round}.arrow"
    return decode(unseal(file), known_ids=None).by_id()
