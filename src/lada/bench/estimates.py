"""Estimates of a row's figures with their uncertainty: over worlds if there are several, else over the seeds of the
only one, or over the questions of its only seed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from zlib import crc32

import numpy as np

from lada.bench.hypotheses import SideName
from lada.bench.layers import MaybeTrack
from lada.bench.outcome import Outcome, PartyOutcome
from lada.bench.suite import Suite
from lada.core.errors import InputError
from lada.evaluation.comparison import Effect, over_questions, over_units
from lada.evaluation.mixed import MixedEffect, mixed_model
from lada.report.view import mean

Block = tuple[int, int]
"""World and seed. All scenarios and rows of a block share these, and are resampled together."""
Cells = Mapping[str, Mapping[Block, Outcome]]
"""One row's outcomes by scenario and block."""
SIDES: dict[SideName, Callable[[Outcome], list[PartyOutcome]]] = {
    "clients": Outcome.clients,
    "LLM": lambda cell: [cell.server()],
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over worlds, and their number."""

    effect: Effect
    worlds: int
    seeds: int
    """The number of seeds in the world with the fewest."""
    mixed: MixedEffect | None
    """The same by a mixed model; None if no world has two seeds, or if there is only one world."""


def by_row(suite: Suite, outcomes: Iterable[Outcome], track: MaybeTrack, budget: float = 1.0) -> Mapping[str, Cells]:
    """Return the outcomes of one track and budget. In a suite without `worlds`, all are of one world."""
    rows: dict[str, dict[str, dict[Block, Outcome]]] = {}
    for each in outcomes:
        if (each.track, each.budget, each.setting) == (track, budget, ""):
            block = (each.world if suite.worlds else 0, each.seed)
            rows.setdefault(each.row, {}).setdefault(each.scenario, {})[block] = each
    return rows


def estimate(
    suite: Suite,
    mine: Cells,
    theirs: Cells | None,
    scenarios: Sequence[str],
    side: SideName,
    area: str = "overall",
    *,
    name: str,
    bound: float = 0.0,
) -> Estimate | None:
    """Return a row's accuracy on one side, percent, or its difference from another row, percentage points.

    It is the mean over scenarios in each world and seed in which both rows ran all of them, then over the seeds of each
    world, then over worlds. `bound` is the value above which a test asks the mean to lie. None if there is no such
    world and seed, or no question. In a suite of several worlds, the interval is over worlds, and there is none while
    only one was run. Otherwise the interval is over seeds, or over the questions of the only seed, and says nothing
    about other worlds; `name` seeds its bootstrap.
    """
    compared = [mine] if theirs is None else [mine, theirs]
    if not all(scenario in cells for cells in compared for scenario in scenarios):
        return None
    runs = [cells[scenario].keys() for cells in compared for scenario in scenarios]
    values: dict[Block, list[np.ndarray]] = {}
    for block in sorted(frozenset.intersection(*map(frozenset, runs))):
        told = [
            _values(mine[scenario][block], None if theirs is None else theirs[scenario][block], side, area)
            for scenario in scenarios
        ]
        values[block] = [each for each in told if each is not None]
    if not values or any(len(strata) < len(scenarios) for strata in values.values()):
        return None
    worlds: dict[int, list[float]] = {}
    for (world, _), strata in values.items():
        worlds.setdefault(world, []).append(float(np.mean([np.mean(each) for each in strata])))
    seeds = [value for seeds in worlds.values() for value in seeds]
    if suite.over_worlds:
        effect = over_units([fmean(each) for each in worlds.values()], bound=bound)
    elif area == "overall" and len(seeds) == 1:  # with a known verdict on each question
        effect = over_questions(list(values.values()), seed=crc32(name.encode()), bound=bound)
    else:
        effect = over_units(seeds, bound=bound)
    mixed = mixed_model(list(worlds.values()), bound=bound)
    return Estimate(effect, len(worlds), min(map(len, worlds.values())), mixed)


def _values(mine: Outcome, theirs: Outcome | None, side: SideName, area: str) -> np.ndarray | None:
    """Return the difference of two cells, or one cell's value, by question if known; None without questions."""
    if theirs is None:
        return _accuracy(mine, side, area)
    if mine.questions != theirs.questions:
        raise InputError(
            f"{mine} and {theirs} answered {mine.questions} and {theirs.questions} test questions; rows can be "
            "compared on the same ones alone"
        )
    one, other = _accuracy(mine, side, area), _accuracy(theirs, side, area)
    return None if one is None or other is None else one - other


def _accuracy(cell: Outcome, side: SideName, area: str) -> np.ndarray | None:
    members = SIDES[side](cell)
    if area == "overall":
        return 100 * np.mean([member.verdicts(cell.questions) for member in members], axis=0)
    value = mean(member.after.get(area) for member in members)
    return None if value is None else np.array([value])


def averaged(cells: Cells, figure: Callable[[Outcome], float | None]) -> float | None:
    """Return the mean of a figure over the seeds of each world, then worlds, then scenarios; unknown values are
    skipped.

    As in `estimate`, only worlds and seeds in which all of the scenarios were run count.
    """
    common = frozenset.intersection(*map(frozenset, cells.values()))

    def of_scenario(blocks: Mapping[Block, Outcome]) -> float | None:
        worlds: dict[int, list[float | None]] = {}
        for world, seed in sorted(common):
            worlds.setdefault(world, []).append(figure(blocks[world, seed]))
        return mean(mean(seeds) for seeds in worlds.values())

    return mean(map(of_scenario, cells.values()))
