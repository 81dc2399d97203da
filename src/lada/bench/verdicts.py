"""The verdicts of a suite's cells on its hypotheses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lada.bench.estimates import Estimate, by_row, estimate
from lada.bench.hypotheses import Hypothesis
from lada.bench.layers import MaybeTrack
from lada.bench.outcome import Outcome
from lada.bench.parts import unsearched
from lada.bench.search import Frozen
from lada.bench.suite import Suite
from lada.evaluation.comparison import holm

LEVEL = 0.05
Said = Literal["holds", "fails", "inconclusive", "incomplete"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one hypothesis."""

    hypothesis: Hypothesis
    rows: tuple[str, str]
    """The names under which the cells of its row, and of the row that it is compared with, are stored."""
    scenarios: tuple[str, ...]
    track: MaybeTrack
    estimate: Estimate | None
    adjusted: float
    """Its p-value after Holm's correction over all hypotheses of the suite; 1 while cells are missing."""
    said: Said
    """`holds`: the adjusted p-value is below 0.05. `fails`: the interval is below the claimed bound. `incomplete`:
    cells are missing, so there is no verdict yet."""
    cells: int
    """The number of its cells that were run."""
    wanted: int
    """The total number of its cells."""
    earlier: int
    """How many of them were run before the hypothesis was in the suite's file in its current form."""


def verdicts(suite: Suite, outcomes: Sequence[Outcome], frozen: Frozen | None) -> list[Verdict]:
    """Return the verdict on each hypothesis, in order."""
    found = [_looked_at(suite, hypothesis, outcomes, frozen) for hypothesis in suite.hypotheses]
    p_values = [_p(each.estimate) if each.is_complete else 1.0 for each in found]
    told = []
    for hypothesis, p, each in zip(suite.hypotheses, holm(p_values), found, strict=True):
        earlier = sum(hypothesis.digest not in cell.hypotheses for cell in each.cells)
        said = _said(hypothesis, each.estimate, p) if each.is_complete else "incomplete"
        there = (len(each.cells), each.wanted, earlier)
        told.append(Verdict(hypothesis, each.rows, each.scenarios, each.track, each.estimate, p, said, *there))
    return told


@dataclass(frozen=True, slots=True)
class _Found:
    rows: tuple[str, str]
    scenarios: tuple[str, ...]
    track: MaybeTrack
    estimate: Estimate | None
    cells: list[Outcome]
    wanted: int

    @property
    def is_complete(self) -> bool:
        return len(self.cells) == self.wanted


def _looked_at(suite: Suite, hypothesis: Hypothesis, outcomes: Iterable[Outcome], frozen: Frozen | None) -> _Found:
    pair = (hypothesis.row, hypothesis.against)
    track = suite.track_of(hypothesis.name, hypothesis.track, map(unsearched, pair))
    mine, theirs = (_searched(suite, row, track, frozen) for row in pair)
    scenarios = hypothesis.scenarios or tuple(suite.scenarios)
    rows = by_row(suite, outcomes, track)
    compared = [rows.get(row, {}) for row in (mine, theirs)]
    of = (suite, compared[0], compared[1], scenarios, hypothesis.side, hypothesis.area)
    estimated = estimate(*of, name=hypothesis.name, bound=hypothesis.bound)
    cells = [cell for row in compared for scenario in scenarios for cell in row.get(scenario, {}).values()]
    wanted = len(compared) * len(scenarios) * max(1, len(suite.worlds)) * len(suite.seeds)
    return _Found((mine, theirs), scenarios, track, estimated, cells, wanted)


def _searched(suite: Suite, row: str, track: str, frozen: Frozen | None) -> str:
    """Return the name of a row's cells. If the best configuration is the unchanged row, this is the row's own name."""
    there = row in suite.rows and (not track or track in suite.rows[row].tracks)
    return row if there or frozen is None else unsearched(row)


def _p(estimated: Estimate | None) -> float:
    return 1.0 if estimated is None or estimated.effect.p_above is None else estimated.effect.p_above


def _said(hypothesis: Hypothesis, estimated: Estimate | None, adjusted: float) -> Said:
    if estimated is None:
        return "inconclusive"
    if adjusted < LEVEL:
        return "holds"
    high = estimated.effect.high
    return "fails" if high is not None and high < hypothesis.bound else "inconclusive"
