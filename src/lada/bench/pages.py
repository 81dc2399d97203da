"""What a suite leaves behind: README.md with its tables, and leaderboard.html, where every column can be sorted."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from markupsafe import Markup

from lada.bench.outcome import Outcome
from lada.bench.standings import COSTS, FIGURES, Place, Section, Standing, sections
from lada.bench.suite import Suite, Table
from lada.core.errors import InputError
from lada.core.plural import counted
from lada.evaluation.comparison import Effect
from lada.report.page import write
from lada.report.view import Table as PageTable
from lada.report.words import NONE, number

Column = tuple[str, Callable[[Standing], str]]


def write_pages(suite: Suite, outcomes: Sequence[Outcome], folder: Path, runs: Path | None = None) -> list[Path]:
    """Write README.md and leaderboard.html; return them. `runs` is where the cells' own reports are, to be linked."""
    told = [(table, sections(suite, table, outcomes)) for table in suite.tables]
    if not any(found for _, found in told):
        raise InputError(f"suite {suite.name!r}: no cell of its tables is there yet; run `lada bench` first")
    folder.mkdir(parents=True, exist_ok=True)
    readme = folder / "README.md"
    readme.write_text("\n".join(_markdown(suite, told, outcomes)) + "\n", encoding="utf-8")
    page = write(
        "leaderboard.html.j2",
        folder / "leaderboard.html",
        suite=suite,
        explained=_EXPLAINED,
        tables=[(table, [(section.scenario, _page_table(section)) for section in found]) for table, found in told],
        cells=_cell_table(outcomes, folder, runs),
        environment=_environment(outcomes),
    )
    return [readme, page]


def _markdown(suite: Suite, told: Sequence[tuple[Table, list[Section]]], outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"# Suite {suite.name}\n"
    yield f"{suite.about.strip()}\n" if suite.about else ""
    yield f"{_EXPLAINED}\n"
    count = f"{len(outcomes)} of {counted(len(list(suite.places())), 'cell')}"
    yield f"`lada bench --suite {suite.name}` regenerates it: {count}, {_environment(outcomes)}.\n"
    for title, parts in (("Scenarios", suite.scenarios), ("Rows", suite.rows)):
        if any(part.about for part in parts.values()):
            yield f"## {title}\n"
            yield from (f"- **{name}**: {part.about}" for name, part in parts.items())
            yield ""
    for table, found in told:
        yield f"## {table.title}\n"
        yield f"{table.about.strip()}\n" if table.about else ""
        if len(found) > 1:
            yield f"### {table.title}: overview\n"
            yield from _overview(found)
            yield ""
        for section in found:
            yield f"### {table.title}: {section.scenario}\n"
            for columns in (_accuracy(table.against), _further(FIGURES), _costs()):
                yield from _rows(section, columns)
                yield ""


def _overview(found: Sequence[Section]) -> Iterator[str]:
    """Yield one table of all sections: the clients' accuracy and, behind the stroke, the LLM's, percent."""
    yield f"| clients / LLM, % | {' | '.join(section.scenario for section in found)} |"
    yield "|---" * (1 + len(found)) + "|"
    told = [{standing.row: standing for standing in section.standings} for section in found]
    for row in dict.fromkeys(row for section in told for row in section):
        yield f"| {row} | {' | '.join(_both(section.get(row)) for section in told)} |"


def _both(standing: Standing | None) -> str:
    return NONE if standing is None else f"{standing.clients.mean.value:.1f} / {standing.llm.mean.value:.1f}"


def _rows(section: Section, columns: Sequence[Column]) -> Iterator[str]:
    yield f"| row | {' | '.join(name for name, _ in columns)} |"
    yield "|---" * (1 + len(columns)) + "|"
    for standing in section.standings:
        yield f"| {standing.row} | {' | '.join(show(standing) for _, show in columns)} |"


def _accuracy(against: str) -> list[Column]:
    def side(name: str, of: Callable[[Standing], Place]) -> list[Column]:
        return [
            (f"{name}, %", lambda s: _interval(of(s).mean)),
            (f"{name}, against {against}", lambda s: _interval(of(s).difference, "+")),
            ("p (Holm)", lambda s: NONE if (p := of(s).adjusted) is None else f"{p:.3f}"),
        ]

    return [
        ("seeds", lambda s: str(s.seeds)),
        *side("clients", lambda s: s.clients),
        *side("LLM", lambda s: s.llm),
    ]


def _further(names: Sequence[str] | dict) -> list[Column]:
    return [(name, lambda s, name=name: _number(s.figures[name], name)) for name in names]


def _costs() -> list[Column]:
    def tokens(name: str, of: Callable[[Standing], Place]) -> list[Column]:
        return [
            (f"{name}: tokens studied, millions", lambda s: f"{of(s).tokens / 1e6:.3f}"),
            ("more, %", lambda s: NONE if (more := of(s).more_tokens) is None else f"{more:+.2f}"),
        ]

    return [*tokens("clients", lambda s: s.clients), *tokens("LLM", lambda s: s.llm), *_further(COSTS)]


def _page_table(section: Section) -> PageTable:
    columns = [*_accuracy("the reference"), *_further(FIGURES), *_costs()]
    rows = [(s.row, *(show(s) for _, show in columns)) for s in section.standings]
    return PageTable(("row", *(name for name, _ in columns)), rows, f"{section.scenario}: a click on a heading sorts.")


def _cell_table(outcomes: Sequence[Outcome], folder: Path, runs: Path | None) -> PageTable:
    rows = []
    for each in sorted(outcomes, key=lambda o: (o.scenario, o.row, o.seed)):
        found = sorted(runs.glob(f"*-{each.digest}/*/report.html")) if runs else []
        name = str(each)
        link = Markup('<a href="{}">{}</a>').format(os.path.relpath(found[-1], folder), name) if found else name
        llm = each.server().after["overall"]
        rows.append((link, number(each.mean("overall")), number(llm), f"{each.wall_clock.seconds:.0f}"))
    caption = "Each cell; its run's own report is linked where it is on this machine."
    return PageTable(("cell", "clients, %", "LLM, %", "seconds"), rows, caption)


def _environment(outcomes: Sequence[Outcome]) -> str:
    """Return the versions behind the cells, in words."""
    told = {
        f"LaDa {e.lada}, Python {e.python}, PyTorch {e.packages['torch']}, transformers {e.packages['transformers']}, "
        f"{e.device} ({f'{e.processor}, {e.instructions}' if e.processor else 'a processor not recorded'})"
        for e in (each.environment for each in outcomes)
    }
    commits = sorted({_commit(each.environment.git) for each in outcomes})
    return f"{' and '.join(sorted(told))}; at {', '.join(commits)}"


def _commit(git: str | None) -> str:
    return "no checkout" if git is None else git[:10] + ("+" if git.endswith("+") else "")


def _interval(effect: Effect | None, sign: str = "") -> str:
    if effect is None:
        return NONE
    return f"{effect.value:{sign}.1f} [{effect.low:{sign}.1f}, {effect.high:{sign}.1f}]"


DIGITS = {"ECE": 3, "distinct-2": 3, "traffic, MB": 2, "seconds": 0, "peak memory, MiB": 0}


def _number(value: float | None, name: str) -> str:
    return NONE if value is None else f"{value:.{DIGITS.get(name, 1)}f}"


_EXPLAINED = """Accuracy after the last round on all domains but general skill, mean over clients and seeds.
Intervals are 95 %, of a bootstrap over seeds and, within them, over questions; differences are paired by seed and
question, and their p-values are corrected for the number of rows by Holm's method. With one seed the interval is over
questions alone."""
