"""leaderboard.html: charts of a suite's accuracy against traffic on one page, and its tables below them."""

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

import lada
from lada.allocators.base import ALLOCATORS
from lada.bench.columns import CURVE, HYPOTHESES, SEARCH, Column, accuracy, by_area, costs, counts, further
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
from lada.core.registry import Method
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
"""The figure next to accuracy."""
ACCURACY = """Percent of test questions right after the last round, with 95 % intervals. General skill is that of the
clients and needs no domain knowledge; a low value means that they forgot some. Select a heading to sort."""
BY_AREA = """The clients’ difference from {} by kind of question: points with 95 % intervals. A client’s own domains
are those of its private data. New domains are those that the LLM knows and the client’s private data lacks.
A mixed question needs the knowledge of two domains."""
FURTHER = """Means over the clients, in percent unless stated otherwise. The spread of clients is their standard
deviation. Right paths chosen are lessons with a right answer; sound ones are right in every step. ECE is the expected
calibration error; 0 is best. Distinct-2 is the share of word pairs that are different, from 0 to 1. Gains of the LLM
are points above its start."""
COSTS = """Sums over the parties of one cell. *More* counts tokens beyond those of the row that the others are compared
with. Tokens on trying are those that a filter spends before it chooses; the tokens studied include them."""
HYPOTHESES_SAID = "Claims that were written down before the cells were run, with what the cells say about them."
CURVES_SAID = "Percent of test questions right after the last round, with 95 % intervals, by the budget of tokens."
SEARCH_SAID = "Percent of test questions right in the development worlds."
CELLS_SAID = "A cell is one row in one scenario, run once. It links to its run’s report if that is on this machine."


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
        charts=[_against_traffic(suite, table, found[0]) for table, found in told if found],
        hypotheses=_page_table([*map(_wrapped, HYPOTHESES[:2]), *HYPOTHESES[2:]], said, HYPOTHESES_SAID, 2),
        tables=[(table, [_section(suite, table, section, folder) for section in found]) for table, found in told],
        curves=[(curve.heading, _chart(curve), _page_table(CURVE, curve.points, CURVES_SAID)) for curve in drawn],
        search=_page_table(SEARCH, frozen.pairs, SEARCH_SAID, 3) if frozen else None,
        searched=searched(frozen) if frozen else "",
        cells=_cell_table(outcomes, folder, runs),
        origin=origin,
    )


def _against_traffic(suite: Suite, table: Table, section: Section) -> Markup:
    spots = [
        Spot(each.row, each.figures["traffic, MB"] or 0.0, mean.value, mean.low, mean.high, suite.rows[each.row].about)
        for each in section.standings
        for mean in (each.clients.mean,)
    ]
    title = f"{table.title}: {section.scenario}"
    described = "Percent of test questions that the clients answer right, by the bytes of all messages of a cell."
    along, up = "bytes of all messages", "clients, percent right"
    return scatter(title, described, spots, along=along, up=up, show=lambda cost: size(cost).replace(".0", ""))


def _section(
    suite: Suite, table: Table, section: Section, folder: Path
) -> tuple[str, str, list[PageTable], list[tuple[str, PageTable]]]:
    """Return a section's heading, what is said of it, its first tables, and further ones behind their headings."""

    def page_table(columns: Sequence[Column], caption: str, words: int = 1, of: Sequence[Standing] = section.standings):
        return _page_table([("row", lambda s: s.row), *columns], of, caption, words)

    of = section.standings
    main: list[Column] = [
        ("what it is", lambda s: _about(suite, table, section, s, folder)),
        *accuracy(table.against),
        *further(of, {FIRST: FIGURES[FIRST]}),
        *counts(bool(suite.worlds)),
    ]
    first, areas = [page_table(main, ACCURACY, 2)], by_area(of)
    if areas:
        first.append(page_table(areas, BY_AREA.format(table.against), of=[each for each in of if each.areas]))
    rest = {name: figure for name, figure in FIGURES.items() if name != FIRST}
    scenario = suite.scenarios.get(section.scenario)
    about = scenario.about if scenario else "The mean over the scenarios below."
    folded = [
        ("Further figures", page_table(further(of, rest), FURTHER)),
        ("What it costs", page_table(costs(of), COSTS)),
    ]
    return section.scenario, about, first, folded


def _about(suite: Suite, table: Table, section: Section, standing: Standing, folder: Path) -> Markup:
    """Return what a row is, with its methods, each linked to its documentation, and what it reads."""
    scenario = section.scenario if section.scenario in suite.scenarios else next(iter(suite.scenarios))
    track = suite.track_of(table.title, table.track, (*table.rows, table.against))
    config = suite.cell(any_key(suite, scenario, standing.row, track)).config
    methods = Markup(", ").join(_linked(method, kind, folder) for kind, method in _methods(config))
    told = Markup("{} <small>{}<br>reads {}</small>").format(
        suite.rows[standing.row].about, methods, ", ".join(standing.reads)
    )
    return _block(told)


def _methods(config: RunConfig) -> list[tuple[str, Method]]:
    """Return a row's host and, where its rounds choose lessons, its allocator, each behind its kind."""
    steps = config.make(HOSTS).plan(1, config.make(OBJECTIVES))
    chooses = any(isinstance(step, Step) and step.samples == "lessons" for step in steps)
    registries = (HOSTS, ALLOCATORS) if chooses else (HOSTS,)
    return [(registry.kind, registry.get(config.choice(registry).name)) for registry in registries]


def _linked(method: Method, kind: str, folder: Path) -> Markup:
    """Return a method, linked to its place in the docs where they are on this machine and have one."""
    told = f"{kind} {method.name}"
    anchor = f"{kind}-{method.name}"
    if anchor not in _anchors():
        return escape(told)
    page = Path(os.path.relpath(DOCS, folder)).as_posix()
    return Markup('<a href="{}#{}" title="{}">{}</a>').format(page, anchor, method.summary, told)


@cache
def _anchors() -> frozenset[str]:
    """Return the places in the docs that a link may lead to; a method from a plug-in has none."""
    return frozenset(re.findall(r'<a id="([\w-]+)">', DOCS.read_text(encoding="utf-8")) if DOCS.is_file() else ())


def _block(told: str) -> Markup:
    """Return a text that is broken into lines within its cell."""
    return Markup('<span class="about">{}</span>').format(told)


def _wrapped(column: Column) -> Column:
    name, show = column
    return name, lambda each: _block(show(each))


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
    return line_chart("Clients, percent right", described, lines, show=whole_percent, along="times the tokens")


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
    return PageTable(("cell", "clients, %", "LLM, %", "seconds"), rows, CELLS_SAID)
