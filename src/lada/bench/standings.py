"""Rows side by side: means over seeds with intervals, paired differences, and what it cost."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from zlib import crc32

import numpy as np

from lada.bench.outcome import Outcome, PartyOutcome
from lada.bench.suite import Suite, Table
from lada.evaluation.comparison import Effect, effect, holm
from lada.report.view import mean

EVERYWHERE = "all scenarios"
Side = Callable[[Outcome], list[PartyOutcome]]


@dataclass(frozen=True, slots=True)
class Place:
    """How one side of a row, its clients or its LLM, did: percent, with the difference to the table's `against`."""

    mean: Effect
    difference: Effect | None
    """None for the row `against` itself, and where the two have no seed in common."""
    adjusted: float | None
    """The p-value of the difference after Holm's correction over the rows of the table."""
    tokens: float
    """Studied in a cell, mean."""
    more_tokens: float | None
    """How many more than `against`, percent; None where that studied none."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One row of a table. Means are over seeds, then over scenarios; those of clients first over clients."""

    row: str
    seeds: int
    """With how many seeds it was run, in the scenario with the fewest."""
    clients: Place
    llm: Place
    figures: dict[str, float | None]
    """Further figures by FIGURES and COSTS."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table in one scenario, or over all of them."""

    scenario: str
    standings: tuple[Standing, ...]


def _clients(key: str) -> Callable[[Outcome], float | None]:
    return lambda cell: mean(getattr(client, key) for client in cell.clients())


def _area(area: str) -> Callable[[Outcome], float | None]:
    return lambda cell: cell.mean(area)


def _gain(area: str) -> Callable[[Outcome], float | None]:
    def gain(cell: Outcome) -> float | None:
        before, after = cell.server().before[area], cell.server().after[area]
        return None if before is None or after is None else after - before

    return gain


def _overall(cell: Outcome) -> list[float]:
    return [value for client in cell.clients() if (value := client.after["overall"]) is not None]


FIGURES: dict[str, Callable[[Outcome], float | None]] = {
    "own domains": _area("own"),
    "other domains": _area("other"),
    "worst client": lambda cell: min(_overall(cell)),
    "spread of clients": lambda cell: pstdev(_overall(cell)),
    "general skill": _area("general"),
    "right paths chosen": lambda cell: cell.chosen_right,
    "sound paths chosen": lambda cell: cell.chosen_sound,
    "agreement with the LLM": _clients("agreement"),
    "right steps": _clients("step_validity"),
    "ECE": _clients("calibration_error"),
    "distinct-2": _clients("distinct_2"),
    "LLM: gain on clients' domains": _gain("other"),
    "LLM: gain on its own": _gain("own"),
    "LLM: gain on general skill": _gain("general"),
}
"""What is told beside accuracy; percent or points, ECE and distinct-2 0..1."""
COSTS: dict[str, Callable[[Outcome], float | None]] = {
    "traffic, MB": lambda cell: cell.bytes / 1e6,
    "seconds": lambda cell: cell.wall_clock.seconds,
    "peak memory, MiB": lambda cell: cell.wall_clock.peak_memory / 2**20,
}
SIDES: dict[str, Side] = {"clients": Outcome.clients, "LLM": lambda cell: [cell.server()]}


Cells = dict[str, dict[int, Outcome]]
"""One row's outcomes by scenario and seed."""


def sections(suite: Suite, table: Table, outcomes: Iterable[Outcome]) -> list[Section]:
    """Return a table over all scenarios, where there are several, and in each; rows that were not run are left out."""
    rows: dict[str, Cells] = {}
    for each in outcomes:
        rows.setdefault(each.row, {}).setdefault(each.scenario, {})[each.seed] = each
    scenarios = list(suite.scenarios)
    groups = [(EVERYWHERE, scenarios)] if len(scenarios) > 1 else []
    groups += [(scenario, [scenario]) for scenario in scenarios]
    found = [Section(name, _standings(table, rows, group)) for name, group in groups]
    return [section for section in found if section.standings]


def _standings(table: Table, outcomes: dict[str, Cells], scenarios: Sequence[str]) -> tuple[Standing, ...]:
    """Return the rows that were run in every one of the scenarios."""
    rows = {
        row: {scenario: outcomes[row][scenario] for scenario in scenarios}
        for row in dict.fromkeys((*table.rows, table.against))
        if set(scenarios) <= outcomes.get(row, {}).keys()
    }
    places = {side: _places(rows, table.against, of) for side, of in SIDES.items()}
    standings = []
    for row, cells in rows.items():
        figures = {
            name: mean(mean(map(figure, by_seed.values())) for by_seed in cells.values())
            for name, figure in (FIGURES | COSTS).items()
        }
        seeds = min(map(len, cells.values()))
        standings.append(Standing(row, seeds, places["clients"][row], places["LLM"][row], figures))
    return tuple(standings)


def _places(rows: dict[str, Cells], against: str, of: Side) -> dict[str, Place]:
    differences = {
        row: found
        for row, cells in rows.items()
        if row != against and against in rows and (found := _difference(row, cells, rows[against], of)) is not None
    }
    adjusted = dict(zip(differences, holm([each.p for each in differences.values()]), strict=True))
    tokens = {row: _tokens(cells, of) for row, cells in rows.items()}
    base = tokens.get(against)
    return {
        row: Place(
            _effect(row, [[_verdicts(cell, of) for cell in by_seed.values()] for by_seed in cells.values()]),
            differences.get(row),
            adjusted.get(row),
            tokens[row],
            100 * (tokens[row] / base - 1) if base else None,
        )
        for row, cells in rows.items()
    }


def _verdicts(cell: Outcome, of: Side) -> np.ndarray:
    """Return the share of one side's parties that answered each question right, percent [questions]."""
    return 100 * np.mean([member.verdicts(cell.questions) for member in of(cell)], axis=0)


def _difference(row: str, cells: Cells, against: Cells, of: Side) -> Effect | None:
    """Return how much better a row is, over the seeds that both were run with in each scenario."""
    strata = [
        [_verdicts(mine, of) - _verdicts(against[s][seed], of) for seed, mine in cells[s].items() if seed in against[s]]
        for s in cells
    ]
    return _effect(row, strata) if all(strata) else None


def _effect(row: str, strata: list[list[np.ndarray]]) -> Effect:
    return effect(strata, seed=crc32(row.encode()))


def _tokens(cells: Cells, of: Side) -> float:
    return fmean(fmean(sum(m.tokens for m in of(cell)) for cell in by_seed.values()) for by_seed in cells.values())
