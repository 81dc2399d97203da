"""What one cell of a suite came to: the figures behind every table, and the verdict on each test question."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from lada.bench.suite import Cell, label
from lada.codecs.paths import decode
from lada.core.nested import differences
from lada.core.results import Environment, Evaluation, Record, Results
from lada.core.sealed import unseal
from lada.core.terms import Path as ReasoningPath
from lada.evaluation.diversity import distinct_n
from lada.federation import ledger
from lada.federation.events import EVENTS, Tail
from lada.federation.parties import read_task
from lada.federation.run_folder import read
from lada.report.reading import read_results
from lada.report.view import mean

AREAS = ("overall", "own", "other", "general")
MORE_AREAS = ("new", "mixed")
"""Areas that there are only where the task says so."""
DIGITS = 4


def _empty(counts: dict[str, int]) -> bool:
    return not counts


class PartyOutcome(Record):
    """One party of a cell, before the first round and after the last."""

    role: str
    """`server` or `client`."""
    model: str
    before: dict[str, float | None]
    """Accuracy before anything by area (AREAS; MORE_AREAS where the task has them), percent; None where there is no
    question."""
    after: dict[str, float | None]
    """The same after the last round."""
    calibration_error: float | None
    """Expected calibration error after the last round, 0..1."""
    agreement: float | None
    """Share of test questions on which a client gives the server's answer, percent."""
    step_validity: float | None
    """Share of the steps of its paths that hold, percent."""
    distinct_2: float | None
    """Share of different pairs of words in its paths, 0..1."""
    tokens: int
    """Tokens it studied."""
    right: str
    """Which test questions (those of `overall`, in the task's order) it answered right at the end: bits as hex."""

    def verdicts(self, count: int) -> np.ndarray:
        """Return `right` as float64 [count], 1 for a right answer."""
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(self.right), np.uint8), count=count)
        return bits.astype(np.float64)


class Cost(Record):
    """What differs from machine to machine and from run to run."""

    seconds: float
    """From start to end, one process; with those of the work that was taken from other cells."""
    peak_memory: int
    """Most bytes of any phase."""


class Outcome(Record):
    """One cell. All but `wall_clock` is the same to the digit wherever `environment` is."""

    scenario: str
    row: str
    seed: int
    digest: str
    """Of the configuration, as Cell.digest."""
    questions: int
    """Test questions of `overall`."""
    members: dict[str, PartyOutcome]
    """By party."""
    bytes: int
    """What crossed the wire. What a run that was interrupted sent again counts once, as if it had not been."""
    from_teacher: int
    """Samples chosen of a teacher's paths, all directions and rounds together."""
    chosen_right: float | None
    """Share of the chosen paths whose answer is right, percent; None where nothing was chosen or it is not known."""
    chosen_sound: float | None
    """Share of the chosen paths of which every step holds, percent; None likewise."""
    styles: dict[str, int] = Field(default={}, exclude_if=_empty)
    """How many of the chosen paths are written in which style, where the task says so; see lada.tasks.styles."""
    notices: int
    """How many notices the run gave."""
    environment: Environment
    wall_clock: Cost

    def __str__(self) -> str:
        return label(self.scenario, self.row, self.seed)

    def differences(self, other: "Outcome") -> dict[str, tuple[Any, Any]]:
        """Return where two outcomes differ, but for what depends on the machine: both values by their dotted key."""
        mine, others = (each.model_dump(exclude={"environment", "wall_clock"}) for each in (self, other))
        return differences(mine, others)

    def clients(self) -> list[PartyOutcome]:
        """Return the clients, sorted by name."""
        return [member for _, member in sorted(self.members.items()) if member.role == "client"]

    def mean(self, area: str) -> float | None:
        """Return the clients' mean accuracy in an area after the last round, percent; None where none is known."""
        return mean(client.after.get(area) for client in self.clients())

    def server(self) -> PartyOutcome:
        """Return the server."""
        return next(member for member in self.members.values() if member.role == "server")


def outcome(cell: Cell, folder: Path) -> Outcome:
    """Return what a finished run came to. Raises InputError where its folder has no results."""
    results = read_results(folder)
    config, place = read(folder)
    task = read_task(config, place.base)
    counted = [sample.id for sample in task.test if sample.domain not in task.general]
    evaluated = {e.party for e in results.evaluations}
    return Outcome(
        scenario=cell.scenario,
        row=cell.row,
        seed=cell.seed,
        digest=cell.digest,
        questions=len(counted),
        members={
            party.name: _member(results, party.name, party.role, party.model, folder, counted)
            for party in results.parties
            if party.name in evaluated
        },
        bytes=sum(row.bytes for row in set(ledger.read(folder))),
        from_teacher=sum(row.from_teacher for row in results.allocations),
        chosen_right=_of_chosen((row.right, row.chosen) for row in results.allocations),
        chosen_sound=_of_chosen((row.sound, row.chosen) for row in results.allocations),
        styles=dict(sorted(sum((Counter(row.styles) for row in results.allocations), Counter()).items())),
        notices=len(results.notices),
        environment=results.environment,
        wall_clock=Cost(
            seconds=round(results.wall_clock.seconds + sum(_taken(folder).values()), 3),
            peak_memory=max((phase.peak_memory for phase in results.wall_clock.phases), default=0),
        ),
    )


def _taken(folder: Path) -> dict[tuple[str, int, str], float]:
    """Return the seconds of what a run took from others, by party, round and phase; see lada.rounds.cached_phase."""
    events = (event for event in Tail(folder / EVENTS).new() if event["kind"] == "taken")
    return {(event["party"], event["round"], event["phase"]): event["seconds"] for event in events}


def _of_chosen(shares: Iterable[tuple[float | None, int]]) -> float | None:
    """Return the mean of shares, weighted by how many were chosen; None of nothing known."""
    known = [(share, count) for share, count in shares if share is not None and count]
    return round(sum(s * n for s, n in known) / sum(n for _, n in known), DIGITS) if known else None


def _member(results: Results, name: str, role: str, model: str, folder: Path, counted: list[str]) -> PartyOutcome:
    mine = sorted((e for e in results.evaluations if e.party == name), key=lambda e: e.round)
    last = mine[-1]
    paths = _paths(folder, name, last.round)
    right = [bool(paths[i].right) if i in paths else False for i in counted]
    varied = distinct_n(paths[i].text for i in counted if i in paths)
    return PartyOutcome(
        role=role,
        model=model,
        before=_accuracy(mine[0]),
        after=_accuracy(last),
        calibration_error=last.calibration_error,
        agreement=last.agreement,
        step_validity=last.step_validity,
        distinct_2=None if varied is None else round(varied, DIGITS),
        tokens=sum(study.tokens for study in results.studies if study.party == name),
        right=np.packbits(np.array(right, bool)).tobytes().hex(),
    )


def _accuracy(evaluation: Evaluation) -> dict[str, float | None]:
    areas = {area: getattr(evaluation, area) for area in (*AREAS, *MORE_AREAS)}
    return {
        area: None if interval is None else interval.value
        for area, interval in areas.items()
        if interval is not None or area in AREAS
    }


def _paths(folder: Path, party: str, round: int) -> dict[str, ReasoningPath]:
    file = folder / "clients" / party / f"test-paths-{round}.arrow"
    return decode(unseal(file), known_ids=None).by_id()
