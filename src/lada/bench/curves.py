"""Accuracy by the number of tokens studied, for rows that ask for a curve."""

from collections.abc import Sequence
from dataclasses import dataclass

from lada.bench.estimates import SIDES, averaged, by_row, estimate
from lada.bench.layers import MaybeTrack
from lada.bench.outcome import Outcome
from lada.bench.suite import Suite
from lada.evaluation.comparison import Effect


@dataclass(frozen=True, slots=True)
class Budgeted:
    """One row under one budget."""

    row: str
    budget: float
    """The factor of every budget of tokens."""
    worlds: int
    seeds: int
    tokens: float
    """The mean tokens that the clients of a cell studied, including those that a filter spent on trials."""
    clients: Effect
    llm: Effect


@dataclass(frozen=True, slots=True)
class Curve:
    """All rows that have a curve in one scenario, on one track."""

    scenario: str
    track: MaybeTrack
    points: tuple[Budgeted, ...]
    """Row by row, by budget."""

    @property
    def heading(self) -> str:
        """Its heading on a page."""
        return f"Accuracy by tokens: {self.scenario}{f' (track {self.track})' if self.track else ''}"


def curves(suite: Suite, outcomes: Sequence[Outcome]) -> list[Curve]:
    """Return the curves of a suite, as far as their cells have been run."""
    tracks: dict[MaybeTrack, None] = dict.fromkeys(
        track for row in suite.rows.values() for track in row.tracks or ("",)
    )
    found = [
        Curve(scenario, track, _points(suite, outcomes, scenario, track))
        for track in tracks
        for scenario in suite.scenarios
    ]
    return [curve for curve in found if curve.points]


def _points(suite: Suite, outcomes: Sequence[Outcome], scenario: str, track: MaybeTrack) -> tuple[Budgeted, ...]:
    points = []
    told = {budget: by_row(suite, outcomes, track, budget) for budget in sorted({*suite.budgets, 1.0})}
    for row in (name for name, row in suite.rows.items() if scenario in row.curve):
        for budget, rows in told.items():
            cells = rows.get(row, {})
            clients, llm = (estimate(suite, cells, None, [scenario], side, name=row) for side in SIDES)
            if clients is None or llm is None:
                continue
            spent = averaged({scenario: cells[scenario]}, lambda cell: float(sum(c.spent for c in cell.clients())))
            of = (clients.worlds, clients.seeds, spent or 0.0, clients.effect, llm.effect)
            points.append(Budgeted(row, budget, *of))
    return tuple(points)
