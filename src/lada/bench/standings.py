"""Compares rows: means over worlds with intervals, paired differences, and costs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any, Literal, NamedTuple

from lada.bench.cell import CellKey
from lada.bench.estimates import SIDES, Cells, Estimate, averaged, by_row, estimate
from lada.bench.hypotheses import SideName
from lada.bench.information import information
from lada.bench.layers import MaybeTrack
from lada.bench.outcome import AREAS, Outcome
from lada.bench.parts import Table
from lada.bench.suite import Suite
from lada.evaluation.comparison import Effect, holm

EVERYWHERE = "all scenarios"
How = Literal["mean", "least", "spread", "sum"]
"""The mean, the minimum, the standard deviation or the sum over parties."""
MAKE: Mapping[How, Callable[[Sequence[float]], float]] = {"mean": fmean, "least": min, "spread": pstdev, "sum": sum}


class Figure(NamedTuple):
    """A figure of a cell: its parties, how they are combined, and its dotted key in cells.jsonl, or key minus key."""

    side: SideName | Literal["cell"]
    how: How
    key: str
    digits: int = 1
    """Decimals on the page."""
    per: float = 1.0
    """Its unit on the page."""

    def of(self, cell: Outcome) -> float | None:
        """Return the figure of one cell; None if unknown."""
        told = [cell] if self.side == "cell" else SIDES[self.side](cell)
        parts = [[_at(party.model_dump(), key) for key in self.key.split("-")] for party in told]
        known = [values[0] - sum(values[1:]) for values in parts if None not in values]
        return MAKE[self.how](known) if known else None


def _at(told: Any, key: str) -> Any:
    for part in key.split("."):
        told = told.get(part)
    return told


@dataclass(frozen=True, slots=True)
class Place:
    """The accuracy of one side of a row, its clients or its LLM, percent, with the difference from the table's
    `against`."""

    mean: Effect
    difference: Effect | None
    """None for the row `against` itself, and if the two have no world and seed in common."""
    adjusted: float | None
    """The p-value of the difference after Holm's correction over the rows of the table; None likewise."""
    tokens: float
    """The mean tokens studied in a cell, including those that a filter spent on trials."""
    more_tokens: float | None
    """How many more than `against`, percent; None if that row studied none."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One row of a table. Means are over seeds, then worlds, then scenarios; those of clients first over clients."""

    row: str
    worlds: int
    seeds: int
    """The number of seeds in the world with the fewest."""
    reads: tuple[str, ...]
    """What it can read besides private data; see lada.bench.information."""
    clients: Place
    llm: Place
    areas: dict[str, Effect]
    """By kind of question (SAID): the clients' difference from the table's `against`, percentage points. Empty for
    `against` itself, and in a suite of one world, where it would have no interval."""
    figures: dict[str, float | None]
    """Further figures by FIGURES, TOKENS, TRYING and COSTS, in the units of the cells: bytes, not megabytes."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table in one scenario, or over all of them."""

    scenario: str
    standings: tuple[Standing, ...]


SAID = {
    "own": "own domains",
    "other": "other domains",
    "new": "new domains",
    "mixed": "mixed questions",
    "general": "general skill",
}
"""The display names of areas; others keep their name."""
OF_LLM = {"own": "its own", "other": "clients' domains"}
"""The display names of areas for the LLM."""
FIGURES: dict[str, Figure] = {
    **{SAID.get(area, area): Figure("clients", "mean", f"after.{area}") for area in AREAS if area != "overall"},
    "worst client": Figure("clients", "least", "after.overall"),
    "spread of clients": Figure("clients", "spread", "after.overall"),
    "right paths chosen": Figure("cell", "mean", "chosen_right"),
    "sound paths chosen": Figure("cell", "mean", "chosen_sound"),
    "agreement with the LLM": Figure("clients", "mean", "agreement"),
    "rationale fidelity": Figure("clients", "mean", "fidelity"),
    "right steps": Figure("clients", "mean", "step_validity"),
    "ECE": Figure("clients", "mean", "calibration_error", digits=3),
    "distinct-2": Figure("clients", "mean", "distinct_2", digits=3),
    "self-BLEU": Figure("clients", "mean", "self_bleu"),
    **{
        f"LLM: gain on {OF_LLM.get(area, SAID.get(area, area))}": Figure("LLM", "mean", f"after.{area}-before.{area}")
        for area in AREAS
        if area != "overall"
    },
}
"""Figures besides accuracy; percent or points, ECE and distinct-2 0..1."""
TOKENS: dict[str, Figure] = {f"{side}: tokens": Figure(side, "sum", "tokens", digits=0) for side in SIDES}
"""Tokens of studies."""
TRYING: dict[str, Figure] = {
    f"{side}: of these on trying": Figure(side, "sum", "trial_tokens", digits=0) for side in SIDES
}
"""Tokens that filters spent on trials."""
COSTS: dict[str, Figure] = {
    **{
        f"{side}: {said}": Figure(side, "sum", key, digits=0)
        for side in SIDES
        for said, key in {"lessons": "lessons", "updates": "updates", "texts judged": "judged"}.items()
    },
    "LLM: questions written": Figure("cell", "mean", "drafts"),
    "LLM: of these kept": Figure("cell", "mean", "kept"),
    "LLM: texts written for them": Figure("cell", "mean", "calls", digits=0),
    "LLM: tokens of these texts": Figure("cell", "mean", "written", digits=0),
    "traffic, MB": Figure("cell", "mean", "bytes", digits=2, per=1e6),
    "seconds": Figure("cell", "mean", "wall_clock.seconds", digits=0),
    "peak memory, MiB": Figure("cell", "mean", "wall_clock.peak_memory", digits=0, per=2**20),
}


def sections(suite: Suite, table: Table, outcomes: Iterable[Outcome]) -> list[Section]:
    """Return a table over all scenarios, if there are several, and one for each; rows that were not run are omitted."""
    track = suite.track_of(table.title, table.track, (*table.rows, table.against))
    rows = by_row(suite, outcomes, track)
    scenarios = list(suite.scenarios)
    groups = [(EVERYWHERE, scenarios)] if len(scenarios) > 1 else []
    groups += [(scenario, [scenario]) for scenario in scenarios]
    found = [Section(name, tuple(_standings(suite, table, track, rows, group))) for name, group in groups]
    return [section for section in found if section.standings]


def _standings(
    suite: Suite, table: Table, track: MaybeTrack, outcomes: Mapping[str, Cells], scenarios: Sequence[str]
) -> Iterable[Standing]:
    """Yield the rows that were run in every one of the scenarios."""
    rows = {
        row: {scenario: outcomes[row][scenario] for scenario in scenarios}
        for row in dict.fromkeys((*table.rows, table.against))
        if set(scenarios) <= outcomes.get(row, {}).keys()
    }
    means = {side: {row: _mean(suite, row, cells, scenarios, side) for row, cells in rows.items()} for side in SIDES}
    rows = {row: cells for row, cells in rows.items() if means["clients"][row] is not None}
    places = {side: _places(suite, rows, table.against, scenarios, side) for side in SIDES}
    for row, cells in rows.items():
        figures = {name: averaged(cells, figure.of) for name, figure in (FIGURES | TOKENS | TRYING | COSTS).items()}
        of = means["clients"][row]
        assert of is not None
        reads = information(suite.cell(any_key(suite, scenarios[0], row, track)).config)
        areas = _areas(suite, row, rows, table.against, scenarios)
        yield Standing(row, of.worlds, of.seeds, reads, places["clients"][row], places["LLM"][row], areas, figures)


def _areas(
    suite: Suite, row: str, rows: Mapping[str, Cells], against: str, scenarios: Sequence[str]
) -> dict[str, Effect]:
    if row == against or against not in rows or not suite.over_worlds:
        return {}
    pair = suite, rows[row], rows[against], scenarios, "clients"
    found = {area: estimate(*pair, area, name=row) for area in SAID}
    return {area: each.effect for area, each in found.items() if each is not None}


def any_key(suite: Suite, scenario: str, row: str, track: MaybeTrack) -> CellKey:
    """Return the key of one cell of a row, to read its configuration."""
    return CellKey(scenario, row, (suite.worlds or (0,))[0], suite.seeds[0], track)


def _mean(suite: Suite, row: str, cells: Cells, scenarios: Sequence[str], side: SideName) -> Estimate | None:
    return estimate(suite, cells, None, scenarios, side, name=row)


def _places(
    suite: Suite, rows: Mapping[str, Cells], against: str, scenarios: Sequence[str], side: SideName
) -> dict[str, Place]:
    differences = {
        row: found.effect
        for row, cells in rows.items()
        if row != against
        and against in rows
        and (found := estimate(suite, cells, rows[against], scenarios, side, name=row)) is not None
    }
    tested = {row: effect.p for row, effect in differences.items() if effect.p is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    tokens = {row: _tokens(cells, side) for row, cells in rows.items()}
    base = tokens.get(against)
    places = {}
    for row, cells in rows.items():
        of = _mean(suite, row, cells, scenarios, side)
        assert of is not None
        more = 100 * (tokens[row] / base - 1) if base else None
        places[row] = Place(of.effect, differences.get(row), adjusted.get(row), tokens[row], more)
    return places


def _tokens(cells: Cells, side: SideName) -> float:
    return averaged(cells, lambda cell: float(sum(member.spent for member in SIDES[side](cell)))) or 0.0
