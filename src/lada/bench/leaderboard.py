"""leaderboard.html: the tables of a suite on one page, below charts of accuracy against traffic."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

import lada
from lada.allocators.base import ALLOCATORS
from lada.bench.columns import CURVE, HYPOTHESES, SEARCH, Column, accuracy, costs, further
from lada.bench.curves import Budgeted, Curve
from lada.bench.explained import explained, searched
from lada.bench.outcome import Outcome
from lada.bench.parts import Table
from lada.bench.search import Frozen
from lada.bench.standings import FIGURES, Section, Standing, any_key
from lada.bench.suite import Suite
from lada.bench.verdicts import Verdict
from lada.config import RunConfig
from lada.core.plural import counted
from lada.hosts.base import HOSTS
from lada.objectives.base import OBJECTIVES
from lada.report.charts import Point, Series, line_chart
from lada.report.page import write as write_page
from lada.report.scatter import Spot, scatter
from lada.report.view import Table as PageTable
from lada.report.words import number, size, whole_percent
from lada.rounds.base import Step

DOCS = Path(lada.__file__).parents[2] / "docs/methods.md"
"""The page that describes each method, if the package is in its repository."""
FIRST = "general skill"
"""The further figure that is shown next to accuracy."""
ACCURACY = """Percent right after the last round, with 95 % intervals. General skill is the clients’ and needs no domain
knowledge: a low value is forgetting. A click on a heading sorts."""
FURTHER = """Means over the clients, percent unless said otherwise. Spread of clients: their standard deviation. Right
paths chosen: lessons whose answer is right; sound ones have every step right. ECE: expected calibration error, 0 is
best. Distinct-2: share of different pairs of words, 0 to 1. Gains of the LLM are points over its start."""
COSTS = """Sums over the parties of one cell. More: tokens beyond the row that the others are compared with. On trying:
tokens that a filter spends before it chooses; they are part of the tokens studied."""


def write(
    suite: Suite,
    outcomes: Sequence[Outcome],
    told: Sequence[tuple[Table, list[Section]]],
    said: Sequence[Verdict],
    drawn: Sequence[Curve],
    folder: Path,
    runs: Path | None,
    frozen: Frozen | None,
    origin: str,
) -> Path:
    """Write the page into `folder` and return its path; `origin` describes the machine and the time of the cells."""
    rows = dict.fromkeys(standing.row for _, found in told for section in found for standing in section.standings)
    return write_page(
        "leaderboard.html.j2",
        folder / "leaderboard.html",
        suite=suite,
        title=f"Suite {suite.name}: accuracy and traffic of {counted(len(rows), 'method')}",
        explained=explained(suite),
        charts=[_against_traffic(table, found[0]) for table, found in told if found],
        hypotheses=_page_table(HYPOTHESES, said, "What was written down before the cells were run."),
        tables=[(table, [_section(suite, table, section, folder) for section in found]) for table, found in told],
        curves=[(_chart(curve), _page_table(CURVE, curve.points, curve.heading)) for curve in drawn],
        search=_page_table(SEARCH, frozen.pairs, "Percent right in the development worlds.", 3) if frozen else None,
        searched=searched(frozen) if frozen else "",
        cells=_cell_table(outcomes, folder, runs),
        origin=origin,
    )


def _against_traffic(table: Table, section: Section) -> Markup:
    spots = [
        Spot(each.row, each.figures["traffic, MB"] or 0.0, mean.value, mean.low, mean.high)
        for each in section.standings
        for mean in (each.clients.mean,)
    ]
    title = f"{table.title}: {section.scenario}"
    described = "Percent of test questions that the clients answer right, by the bytes of all messages of a cell."
    along, up = "bytes of all messages", "clients, percent right"
    return scatter(title, described, spots, along=along, up=up, show=lambda cost: size(cost).replace(".0", ""))


def _section(suite: Suite, table: Table, section: Section, folder: Path) -> tuple[str, str, PageTable, list[Any]]:
    """Return a section's heading, its description, its first table, and further ones after their headings."""

    def page_table(columns: Sequence[Column], caption: str, words: int = 1) -> PageTable:
        return _page_table([("row", lambda s: s.row), *columns], of, caption, words)

    of = section.standings
    first: list[Column] = [
        ("what it is", lambda s: _about(suite, table, section, s, folder)),
        *accuracy(table.against, bool(suite.worlds)),
        *further(of, {FIRST: FIGURES[FIRST]}),
    ]
    rest = {name: figure for name, figure in FIGURES.items() if name != FIRST}
    scenario = suite.scenarios.get(section.scenario)
    about = scenario.about if scenario else "The mean over the scenarios below."
    folded = [
        ("Further figures", page_table(further(of, rest), FURTHER)),
        ("What it costs", page_table(costs(of), COSTS)),
    ]
    return section.scenario, about, page_table(first, ACCURACY, 3), folded


def _about(suite: Suite, table: Table, section: Section, standing: Standing, folder: Path) -> Markup:
    """Return a row's description and methods, each linked to its documentation."""
    scenario = section.scenario if section.scenario in suite.scenarios else next(iter(suite.scenarios))
    track = suite.track_of(table.title, table.track, (*table.rows, table.against))
    config = suite.cell(any_key(suite, scenario, standing.row, track)).config
    methods = Markup(", ").join(_linked(kind, name, folder) for kind, name in _methods(config))
    return Markup('<span class="about">{} <small>{}</small></span>').format(suite.rows[standing.row].about, methods)


def _methods(config: RunConfig) -> list[tuple[str, str]]:
    """Return kind and name of a row's host and, if its rounds choose lessons, of its allocator."""
    steps = config.make(HOSTS).plan(1, config.make(OBJECTIVES))
    chooses = any(isinstance(step, Step) and step.samples == "lessons" for step in steps)
    registries = (HOSTS, ALLOCATORS) if chooses else (HOSTS,)
    return [(registry.kind, config.choice(registry).name) for registry in registries]


def _linked(kind: str, name: str, folder: Path) -> Markup:
    """Return a method, linked to its documentation if that is on this machine."""
    told = f"{kind} {name}"
    if not DOCS.is_file():
        return escape(told)
    return Markup('<a href="{}#{}">{}</a>').format(Path(os.path.relpath(DOCS, folder)).as_posix(), kind, told)


def _chart(curve: Curve) -> Markup:
    by_row: dict[str, list[Budgeted]] = {}
    for point in curve.points:
        by_row.setdefault(point.row, []).append(point)
    lines = [
        Series(
            row,
            [Point(point.budget, point.clients.value, point.clients.low, point.clients.high) for point in points],
            style,
        )
        for style, (row, points) in enumerate(by_row.items())
    ]
    described = "Mean accuracy of the clients by how many times the usual budget of tokens they had."
    return line_chart(curve.heading, described, lines, show=whole_percent, top=100, along="times the tokens")


def _page_table(columns: Sequence[Column], each: Sequence[Any], caption: str, words: int = 1) -> PageTable:
    rows = [[_plain(show(one)) for _, show in columns] for one in each]
    return PageTable([name for name, _ in columns], rows, caption, words)


def _plain(cell: str) -> str:
    """Return a table's cell without Markdown marks."""
    return cell if isinstance(cell, Markup) else cell.replace("**", "")


def _cell_table(outcomes: Sequence[Outcome], folder: Path, runs: Path | None) -> PageTable:
    rows = []
    for each in sorted(outcomes, key=lambda o: o.key):
        found = sorted(runs.glob(f"*-{each.digest}/*/report.html")) if runs else []
        name = str(each)
        link = Markup('<a href="{}">{}</a>').format(os.path.relpath(found[-1], folder), name) if found else name
        llm = each.server().after["overall"]
        rows.append((link, number(each.mean("overall")), number(llm), f"{each.wall_clock.seconds:.0f}"))
    caption = "A cell is one row in one scenario, run once; its run’s report is linked where it is on this machine."
    return PageTable(("cell", "clients, %", "LLM, %", "seconds"), rows, caption)
