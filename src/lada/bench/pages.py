"""Writes the pages of a suite: README.md with its tables, tables.json with their numbers, and leaderboard.html."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from lada.bench import leaderboard, record
from lada.bench.columns import CURVE, HYPOTHESES, READS, SEARCH, Column, accuracy, by_area, costs, counts, further
from lada.bench.curves import Curve, curves
from lada.bench.explained import explained, searched
from lada.bench.outcome import Outcome
from lada.bench.parts import Table
from lada.bench.search import Frozen
from lada.bench.standings import Section, Standing, sections
from lada.bench.suite import Suite
from lada.bench.verdicts import Verdict, verdicts
from lada.core.errors import InputError
from lada.core.plural import counted
from lada.report.words import NONE

Told = Sequence[tuple[Table, list[Section]]]


def write_pages(
    suite: Suite, outcomes: Sequence[Outcome], folder: Path, runs: Path | None = None, frozen: Frozen | None = None
) -> list[Path]:
    """Write README.md, tables.json and leaderboard.html; return them.

    `runs` is the folder of the cells' own reports, for links; `frozen` is the suite's search, if it is over.
    """
    told = [(table, sections(suite, table, outcomes)) for table in suite.tables]
    if not any(found for _, found in told):
        raise InputError(f"suite {suite.name!r}: no cell of its tables has a result yet; run `lada bench` first")
    said, drawn = verdicts(suite, outcomes, frozen), curves(suite, outcomes)
    folder.mkdir(parents=True, exist_ok=True)
    readme = folder / "README.md"
    text = "\n".join(_markdown(suite, told, outcomes, said, drawn, frozen))
    readme.write_text(f"{text.rstrip()}\n", encoding="utf-8")
    page = leaderboard.write(
        suite, outcomes, told, said, drawn, folder, runs, frozen, f"{_environment(outcomes)}. {_seconds(outcomes)}"
    )
    return [readme, record.write(suite, outcomes, told, said, drawn, folder), page]


def _markdown(
    suite: Suite,
    told: Told,
    outcomes: Sequence[Outcome],
    said: Sequence[Verdict],
    drawn: Sequence[Curve],
    frozen: Frozen | None,
) -> Iterator[str]:
    yield f"# Suite {suite.name}\n"
    yield f"{suite.about.strip()}\n" if suite.about else ""
    count = f"{len(outcomes)} of {counted(len(list(suite.reported())), 'cell')}"
    yield f"`lada bench --suite {suite.name}` regenerates it: {count}, {_environment(outcomes)}. {_seconds(outcomes)}\n"
    yield "[The leaderboard](leaderboard.html) has charts, and tables that can be sorted.\n"
    yield "## How to read this page\n"
    yield f"{explained(suite)}\n"
    if said:
        yield "## Hypotheses\n"
        yield from _rows(HYPOTHESES, said)
        yield ""
    for title, parts in (("Scenarios", suite.scenarios), ("Rows", suite.rows)):
        if any(part.about for part in parts.values()):
            yield f"## {title}\n"
            yield from (f"- **{name}**: {part.about}" for name, part in parts.items())
            yield ""
    if frozen is not None:
        yield "## Search\n"
        yield f"{searched(frozen)}\n"
        yield from _rows(SEARCH, frozen.pairs)
        yield ""
    for table, found in told:
        yield f"## {table.title}{f' (track {table.track})' if table.track else ''}\n"
        yield f"{table.about.strip()}\n" if table.about else ""
        if len(found) > 1:
            yield f"### {table.title}: overview\n"
            yield from _overview(found)
            yield ""
        for section in found:
            yield f"### {table.title}: {section.scenario}\n"
            if differences := by_area(section.standings):
                yield f"The clients' difference from `{table.against}` by kind of question, points:\n"
                yield from _rows([("row", lambda s: s.row), *differences], [s for s in section.standings if s.areas])
                yield ""
            for columns in _columns(suite, table.against, section):
                yield from _rows([("row", lambda s: s.row), *columns], section.standings)
                yield ""
    for curve in drawn:
        yield f"## {curve.heading}\n"
        yield from _rows(CURVE, curve.points)
        yield ""


def _rows(columns: Sequence[Column], each: Sequence[Any]) -> Iterator[str]:
    yield f"| {' | '.join(name for name, _ in columns)} |"
    yield "|---" * len(columns) + "|"
    for one in each:
        yield f"| {' | '.join(show(one) for _, show in columns)} |"


def _overview(found: Sequence[Section]) -> Iterator[str]:
    """Yield one table of all sections: the clients' accuracy and, after the slash, the LLM's, percent."""
    told = [{standing.row: standing for standing in section.standings} for section in found]
    both: list[Column] = [
        (section.scenario, lambda row, rows=rows: _both(rows.get(row)))
        for section, rows in zip(found, told, strict=True)
    ]
    rows = list(dict.fromkeys(row for section in told for row in section))
    yield from _rows([("clients / LLM, %", str), *both], rows)


def _both(standing: Standing | None) -> str:
    return NONE if standing is None else f"{standing.clients.mean.value:.1f} / {standing.llm.mean.value:.1f}"


def _columns(suite: Suite, against: str, section: Section) -> list[list[Column]]:
    of = section.standings
    return [[READS, *counts(bool(suite.worlds)), *accuracy(against)], further(of), costs(of)]


def _environment(outcomes: Sequence[Outcome]) -> str:
    """Return the versions that the cells were run with, in words."""
    told = {
        f"LaDa {e.lada}, Python {e.python}, PyTorch {e.packages['torch']}, transformers {e.packages['transformers']}, "
        f"{e.device} ({f'{e.processor}, {e.instructions}' if e.processor else 'a processor not recorded'})"
        for e in (each.environment for each in outcomes)
    }
    commits = sorted({_commit(each.environment.git) for each in outcomes})
    files = sorted({each.suite for each in outcomes if each.suite})
    of_file = f"; the suite's file had the digest {', '.join(files)}" if files else ""
    return f"{' and '.join(sorted(told))}; at {', '.join(commits)}{of_file}"


def _commit(git: str | None) -> str:
    return "no checkout" if git is None else git[:10] + ("+" if git.endswith("+") else "")


def _seconds(outcomes: Sequence[Outcome]) -> str:
    """Return in words how long the cells took."""
    seconds = [each.wall_clock.seconds for each in outcomes]
    return (
        f"The cells took {sum(seconds) / 3600:.1f} hours of one core in total; the median cell took "
        f"{median(seconds):.0f} seconds. Work that cells share was done once, but counts in each of them."
    )
