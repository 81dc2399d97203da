"""`lada bench`: run a suite and compare its methods."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.table import Column, Table

from lada.cli.explained import explained
from lada.cli.plugins import Plugins
from lada.core.console import console, errors
from lada.core.plural import counted

if TYPE_CHECKING:
    from lada.bench.cell import Cell
    from lada.bench.running import Failed, Store
    from lada.bench.search import Frozen
    from lada.bench.suite import Suite

Which = Annotated[
    str, typer.Option("--suite", help="The name of a shipped suite (see --list) or the path of a YAML file.")
]


def bench(
    suite: Which = "quick",
    plugin: Plugins = [],  # noqa: B006 - typer wants a list
    results: Annotated[
        Path, typer.Option(help="Folder for the tables; they go into a subfolder named after the suite.")
    ] = Path("results"),
    runs: Annotated[Path, typer.Option(help="Folder for the runs of the cells.")] = Path("runs/bench"),
    only: Annotated[list[str], typer.Option(metavar="ROW", help="Run only this row; repeatable.")] = [],  # noqa: B006
    scenario: Annotated[list[str], typer.Option(metavar="NAME", help="Run only this scenario; repeatable.")] = [],  # noqa: B006
    parallel: Annotated[
        int,
        typer.Option(min=0, max=65_536, help="Cells to run in parallel; 0: as many as cores and memory allow."),
    ] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run every cell again, even if it has a result.")] = False,
    check: Annotated[
        int, typer.Option(min=0, max=65_536, help="Only run this many random cells again and compare their results.")
    ] = 0,
    search: Annotated[
        bool, typer.Option("--search", help="Try the configurations of the suite's search on its development worlds.")
    ] = False,
    models: Annotated[
        bool, typer.Option("--models", help="Only train the zoo models that the suite's worlds need.")
    ] = False,
    pages: Annotated[
        bool, typer.Option("--pages", help="Only write the pages, from the cells that have a result.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print which cells would be run.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the shipped suites and exit.")] = False,
) -> None:
    """Run every cell of a suite that has no result yet; write the suite's tables and leaderboard."""
    from lada.bench.suite import read_suite
    from lada.core.errors import InputError, nearest
    from lada.core.plugins import add_plugins
    from lada.core.signals import ended_by_signal, exit_code

    with explained():
        if list_:
            console.print(_suites())
            return
        add_plugins(plugin)
        chosen = read_suite(suite)
        for option, what, asked, known in (
            ("--only", "row", only, chosen.rows),
            ("--scenario", "scenario", scenario, chosen.scenarios),
        ):
            for name in asked:
                if name not in known:
                    raise InputError(
                        f"{option}: no {what} {name!r}; expected some of {', '.join(known)}{nearest(name, known)}"
                    )
        from lada.bench import search as searching  # here: report a typo before the slow import of torch
        from lada.bench.parts import unsearched
        from lada.bench.pretraining import untrained
        from lada.bench.running import CELLS, Store

        target, place = results / chosen.name, runs / chosen.name
        frozen = None if search else searching.read(chosen, target)
        chosen = searching.with_best(chosen, frozen)
        every = chosen.cells(chosen.searched() if search else None)
        cells = [
            cell
            for cell in every
            if (not only or unsearched(cell.key.row) in only) and (not scenario or cell.key.scenario in scenario)
        ]
        store = Store(target, searching.CELLS if search else CELLS)
        if check:
            same = _check(cells, store, place, count=check, parallel=parallel)
            raise typer.Exit(0 if same else 1)
        if pages:
            _write(chosen, every, store, place, frozen, search=search)
            return
        missing = [cell for cell in cells if fresh or store.get(cell) is None]
        if dry_run:
            _tell(cells, missing)
            return
        target.mkdir(parents=True, exist_ok=True)  # checked first, since a cell takes minutes
        if fresh:
            store.forget(cells)
        try:
            with ended_by_signal():
                if models:
                    tried = chosen.cells(chosen.searched()) if chosen.search else []
                    _train(untrained([*cells, *tried]), place, parallel)
                    return
                _train(untrained(missing), place, parallel)
                failed = _run(chosen, cells, missing, store, place, parallel)
        except KeyboardInterrupt as stop:
            told = f"stopped. {store.file} has every finished cell; run the same command again for the others."
            errors.print(told, soft_wrap=True)
            raise typer.Exit(exit_code(stop)) from None
        _write(chosen, every, store, place, frozen, search=search)
    for one in failed:
        errors.print(f"failed: {one.cell}; see {one.log}", soft_wrap=True)
    raise typer.Exit(1 if failed else 0)


def _tell(cells: "list[Cell]", missing: "list[Cell]") -> None:
    """Print which models would be trained first, and which cells would be run."""
    from lada.bench.pretraining import untrained

    for name in untrained(missing):
        console.print(f"{name} would be trained first", highlight=False)
    for cell in missing:
        console.print(str(cell), highlight=False)
    console.print(f"{len(missing)} of {counted(len(cells), 'cell')} would be run", highlight=False)


def _run(
    suite: "Suite", cells: "list[Cell]", missing: "list[Cell]", store: "Store", place: Path, parallel: int
) -> "list[Failed]":
    """Run the missing cells and show their progress."""
    from lada.bench.running import at_once, run_cells
    from lada.cli.bench_view import BenchView

    parallel = parallel or (at_once(missing) if missing else 1)  # planning takes seconds
    view = BenchView(suite, cells, store, console, parallel)
    with Live(view, console=console, refresh_per_second=2, transient=not console.is_terminal):
        return run_cells(cells, store, place, parallel=parallel, tell=view.tell)


def _write(
    suite: "Suite", cells: "list[Cell]", store: "Store", place: Path, frozen: "Frozen | None", *, search: bool
) -> None:
    """Write the suite's pages or, if every cell of a search is finished, its best configuration; print where."""
    from lada.bench import search as searching
    from lada.bench.pages import write_pages

    outcomes = {cell.key: found for cell in cells if (found := store.get(cell)) is not None}
    folder, pages = store.file.parent, []
    if not search:
        pages = write_pages(suite, list(outcomes.values()), folder, place, frozen)
    elif len(outcomes) == len(cells):
        pages = [searching.write(searching.decide(suite, outcomes), folder)]
    else:
        left = counted(len(cells) - len(outcomes), "cell")
        console.print(f"the best is chosen when the search is finished; {left} to go", highlight=False)
    for page in pages:
        console.print(str(page), soft_wrap=True, highlight=False)


def _train(names: Sequence[str], place: Path, parallel: int) -> None:
    """Train the missing zoo models, and print which."""
    from lada.bench.pretraining import pretrain
    from lada.core.cores import cores

    if names:
        console.print(f"training {', '.join(names)}; logs in {place}", soft_wrap=True, highlight=False)
        pretrain(names, place, parallel=parallel or cores())


def _check(cells: "list[Cell]", store: "Store", place: Path, *, count: int, parallel: int) -> bool:
    """Run some finished cells again, and print whether each gave the same result."""
    from lada.bench.pretraining import untrained
    from lada.bench.running import SAME, at_once, comparable, run_again
    from lada.core.errors import InputError

    known = [cell for cell in cells if store.get(cell) is not None]
    if not known:
        raise InputError(f"--check: {store.file} has none of these cells; run the suite first, without --check")
    alike = comparable(known, store)
    told = f"{len(alike)} of {counted(len(known), 'cell')} are from these versions and this kind of processor"
    console.print(told if alike else f"{told}; others are run again", soft_wrap=True, highlight=False)
    _train(untrained(known), place, parallel)
    again = run_again(alike or known, store, place, count=count, parallel=parallel or at_once(known))
    for cell, verdict in again.items():
        console.print(f"{cell}: {verdict}", highlight=False)
    return set(again.values()) == {SAME}


def _suites() -> Table:
    from lada.bench.suite import read_suite, shipped

    table = Table(Column("suite", no_wrap=True), "cells", "what it is")
    for name in shipped():
        suite = read_suite(name)
        table.add_row(name, str(len(list(suite.reported()))), suite.about.strip())
    return table
