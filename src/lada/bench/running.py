"""Runs the cells of a suite, several at a time in separate processes, and stores their outcomes."""

import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import ValidationError

from lada.bench.bounded import bounded
from lada.bench.cell import Cell, CellKey
from lada.bench.layers import AFTER, filled
from lada.bench.outcome import Outcome, outcome
from lada.core.cores import cores
from lada.core.errors import LOST, InputError
from lada.core.nested import differences
from lada.core.owner import FILE, FOLDER
from lada.core.results import Environment
from lada.environment import environment
from lada.federation import checkpoints
from lada.federation.run_folder import newest
from lada.planning.compose import plan
from lada.planning.machine import devices

CELLS = "cells.jsonl"
SAME = "the same to the digit"
"""The verdict on a cell whose figures were reproduced."""
FEW = 4
"""How many of the figures that differ are named."""
PROCESS = 1 << 30
"""Bytes that a process needs besides its models: PyTorch, transformers and data."""
Status = Literal["running", "done", "failed"]
Tell = Callable[[Cell, Status, Outcome | None], None]
"""Called when a cell begins, and with its outcome."""


class Store:
    """The outcomes of a suite, in `cells.jsonl`: one line per cell. Each addition rewrites the file."""

    def __init__(self, folder: Path, name: str = CELLS) -> None:
        """Read the existing outcomes. Raises InputError if the file is not a list of outcomes."""
        self.file = folder / name
        self._outcomes: dict[CellKey, Outcome] = {}
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                self._put(Outcome.model_validate_json(line))
            except ValidationError as error:
                raise InputError(
                    f"{self.file}, line {number}: no outcome of a cell ({error.errors()[0]['msg']}); remove the line, "
                    "and the cell is run again"
                ) from None

    def get(self, cell: Cell) -> Outcome | None:
        """Return a cell's outcome; None if it was not run, or with another configuration."""
        found = self._outcomes.get(cell.key)
        return found if found is not None and found.digest == cell.digest else None

    def add(self, new: Outcome) -> None:
        """Store an outcome, immediately on disk."""
        self._put(new)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        staged = self.file.with_suffix(".next")
        staged.write_text("".join(f"{self._outcomes[key].model_dump_json()}\n" for key in sorted(self._outcomes)))
        staged.replace(self.file)

    def forget(self, cells: Iterable[Cell]) -> None:
        """Drop the outcomes of some cells; the file is updated with the next addition."""
        for cell in cells:
            self._outcomes.pop(cell.key, None)

    def _put(self, new: Outcome) -> None:
        self._outcomes[new.key] = new


@dataclass(frozen=True)
class Failed:
    """A cell that failed, or lost a client on the way."""

    cell: Cell
    log: Path


def at_once(cells: Sequence[Cell]) -> int:
    """Return how many cells may run at a time: one per core, limited by the memory that the largest scenario needs."""
    needed = PROCESS
    for cell in {cell.key.scenario: cell for cell in cells}.values():
        planned = plan(cell.config)
        needed = max([needed, *(PROCESS + device.needed for device in planned.devices if device.device == "cpu")])
    cpu = next(device for device in devices() if device.name == "cpu")
    return max(1, min(cores(), cpu.free // needed))


def run_cells(cells: Iterable[Cell], store: Store, folder: Path, *, parallel: int, tell: Tell) -> list[Failed]:
    """Run cells without an outcome in the store; return those that failed. A cell that fails does not stop others.

    `folder` holds their runs and logs. An interrupted run is resumed. After a finished run, the models are removed and
    the report stays. On KeyboardInterrupt, all running cells are ended, and their work so far is kept.

    Work that cells with the same scenario, world and seed share, such as private studies and the answers before and
    after these, is done by the first that needs it.
    """
    missing = with_needed([cell for cell in cells if store.get(cell) is None], folder)
    left = Counter(cell.key.work for cell in missing)
    failed: list[Failed] = []
    lock = threading.Lock()
    folder.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(dir=folder, prefix="common-") as common,
        ThreadPoolExecutor(parallel) as pool,
        Processes() as processes,
    ):

        def one(cell: Cell) -> None:
            if cell.after is not None and cell.after.key in futures:
                futures[cell.after.key].result()  # it began earlier, so no cell waits for one that cannot begin
            if processes.ended:
                return
            tell(cell, "running", None)
            shared = Path(common, cell.key.work)
            result = _run(cell, folder, shared, processes)
            with lock:
                left[cell.key.work] -= 1
                if not left[cell.key.work]:
                    shutil.rmtree(shared, ignore_errors=True)
                if isinstance(result, Outcome):
                    store.add(result)
                    tell(cell, "done", result)
                elif not processes.ended:
                    failed.append(result)
                    tell(cell, "failed", None)

        futures: dict[CellKey, Future[None]] = {}
        for cell in missing:
            futures[cell.key] = pool.submit(one, cell)
        for future in futures.values():
            future.result()
    return failed


def with_needed(missing: Sequence[Cell], folder: Path) -> list[Cell]:
    """Return the missing cells, each after the cell whose run it needs, if that run does not exist."""
    found: dict[CellKey, Cell] = {}
    for cell in missing:
        if cell.after is not None and newest(_place(cell.after, folder), cell.after.name) is None:
            found.setdefault(cell.after.key, cell.after)
        found.setdefault(cell.key, cell)
    return list(found.values())


def _place(cell: Cell, folder: Path) -> Path:
    """Return a cell's folder. Its name includes the configuration, so a run of another one is never resumed."""
    return folder / f"{cell.name}-{cell.digest}"


def comparable(cells: Iterable[Cell], store: Store) -> list[Cell]:
    """Return the stored cells from the same versions and kind of processor as here.

    In other cells, the last digits of a sum may differ, and then some answers.
    """

    def around(told: Environment) -> dict[str, Any]:
        return told.model_dump(include={"python", "packages", "processor"})

    here = around(environment("cpu"))
    return [cell for cell in cells if (was := store.get(cell)) is not None and around(was.environment) == here]


def run_again(cells: Sequence[Cell], store: Store, folder: Path, *, count: int, parallel: int) -> dict[str, str]:
    """Run `count` random stored cells again, and yield for each whether its figures are the same.

    The runs start from scratch, in a temporary folder.
    """
    drawn = SystemRandom().sample(cells, min(count, len(cells)))
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as place:
        again = Store(Path(place))
        run_cells(drawn, again, Path(place), parallel=parallel, tell=lambda *_: None)
        return {str(cell): _verdict(store.get(cell), again.get(cell)) for cell in drawn}


def _verdict(was: Outcome | None, now: Outcome | None) -> str:
    if was is None or now is None:
        return "it failed"
    other = was.differences(now)
    if not other:
        return SAME
    more = [f"{len(other) - FEW} more"] if len(other) > FEW else []
    figures = ", ".join([*_told(list(other.items())[:FEW]), *more])
    around = _told(differences(was.environment.model_dump(), now.environment.model_dump()).items())
    return f"other figures: {figures}; {', '.join(around) or 'versions and processor are the same'}"


def _told(changes: Iterable[tuple[str, tuple[Any, Any]]]) -> list[str]:
    return [f"{key} was {before}, is {after}" for key, (before, after) in changes]


def _run(cell: Cell, folder: Path, common: Path, processes: "Processes") -> Outcome | Failed:
    """Run one cell in a folder of its own."""
    place = _place(cell, folder)
    place.mkdir(parents=True, exist_ok=True, mode=FOLDER)
    file, log = place / "cell.json", place / "log.txt"
    for each in (file, log):
        each.touch(FILE)
    config = cell.config.model_dump(mode="json")
    if cell.after is not None:
        config = filled(config, AFTER, str(newest(_place(cell.after, folder), cell.after.name)))
    if (before := newest(place, cell.name)) is not None and not (before / checkpoints.FOLDER).exists():
        shutil.rmtree(before)  # it has ended, so there is nothing to resume, and its messages would count again
    file.write_text(json.dumps(config, indent=1))
    code = processes.call([sys.executable, "-m", "lada.bench.one", str(file), str(place), str(common)], log)
    run = newest(place, cell.name)
    if code:
        if code == LOST and run is not None:
            shutil.rmtree(run)  # it has ended, and its figures are of fewer clients: the cell is run again
        return Failed(cell, log)
    assert run is not None
    result = outcome(cell, run)
    for part in (checkpoints.FOLDER, "journal"):
        shutil.rmtree(run / part, ignore_errors=True)
    return result


class Processes:
    """A context: processes that are called within it end with it."""

    def __init__(self) -> None:
        self.ended = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def call(self, command: Sequence[str], log: Path) -> int:
        """Run a command to completion, appending its output to the log; return its exit code."""
        with log.open("ab") as output, self._lock:
            if self.ended:
                return 1
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=bounded(),
                start_new_session=True,  # a terminal's Ctrl-C reaches only this process, which ends the others
            )
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.ended = True
            for process in self._running:
                process.terminate()  # SIGTERM: a shell's background jobs, and what they start, ignore Ctrl-C
