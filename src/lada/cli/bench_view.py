"""What `lada bench` shows while it runs: the progress and results of each row, and the running cells."""

import threading
import time
from collections.abc import Sequence
from statistics import fmean

from rich.console import Console, Group, RenderableType
from rich.table import Column, Table

from lada.bench.cell import Cell
from lada.bench.outcome import Outcome
from lada.bench.running import Status, Store
from lada.bench.suite import Suite
from lada.core.plural import counted
from lada.report.view import mean
from lada.report.words import number


class BenchView:
    """A live table on a terminal; elsewhere a line for each cell."""

    def __init__(self, suite: Suite, cells: Sequence[Cell], store: Store, console: Console, parallel: int) -> None:
        self._suite, self._cells, self._store, self._console = suite, cells, store, console
        self._parallel = parallel
        self._running: dict[str, float] = {}
        self._failed: set[str] = set()
        self._took: list[float] = []
        self._lock = threading.Lock()

    def tell(self, cell: Cell, status: Status, outcome: Outcome | None) -> None:
        """Note a cell's new status; several threads call this."""
        with self._lock:
            if status == "running":
                self._running[cell.name] = time.monotonic()
                return
            took = time.monotonic() - self._running.pop(cell.name)
            if outcome is None:
                self._failed.add(cell.name)
                told = "failed"
            else:
                self._took.append(took)
                told = f"clients {number(outcome.mean('overall'))} %, {took:.0f} s"
            if not self._console.is_terminal:
                line = f"{cell}: {told}; {self._left()}"
                self._console.print(line, highlight=False, soft_wrap=True)

    def __rich__(self) -> RenderableType:
        """Return the current table."""
        if not self._console.is_terminal:
            return ""
        with self._lock:
            head = Table(
                Column("row", no_wrap=True), *self._suite.scenarios, title=f"{self._suite.name}: {self._left()}"
            )
            for row in self._suite.rows:
                head.add_row(row, *(self._square(row, scenario) for scenario in self._suite.scenarios))
            now = time.monotonic()
            running = [f"{name}, {now - since:.0f} s" for name, since in self._running.items()]
        return Group(head, *running)

    def _square(self, row: str, scenario: str) -> str:
        cells = [cell for cell in self._cells if (cell.key.row, cell.key.scenario) == (row, scenario)]
        if not cells:
            return ""
        done = [found for cell in cells if (found := self._store.get(cell)) is not None]
        reached = f"  {number(mean(cell.mean('overall') for cell in done))} %" if done else ""
        failed = sum(cell.name in self._failed for cell in cells)
        return f"{len(done)}/{len(cells)}{reached}{f'  {failed} failed' if failed else ''}"

    def _left(self) -> str:
        left = sum(self._store.get(cell) is None for cell in self._cells) - len(self._failed)
        if not self._took:
            return f"{counted(left, 'cell')} to go"
        return f"{counted(left, 'cell')} to go, about {left * fmean(self._took) / self._parallel / 60:.0f} minutes"
