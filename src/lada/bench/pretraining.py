"""Models of the zoo that a suite's cells need and that are not trained yet."""

import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lada.bench.cell import Cell
from lada.bench.running import Processes
from lada.core.errors import InputError, LadaError
from lada.zoo.recipe import find
from lada.zoo.shipped import PREFIX, locate


def untrained(cells: Iterable[Cell]) -> list[str]:
    """Return the names of models with a recipe in the zoo that cells need and that are neither shipped nor trained.

    Raises InputError for a name without a recipe.
    """
    used = {source for cell in cells for source in _sources(cell)}
    names = sorted(model.removeprefix(PREFIX) for model in used if model.startswith(PREFIX))
    return [name for name in names if not _there(name) and find(name)]


def pretrain(names: Sequence[str], folder: Path, *, parallel: int) -> None:
    """Train models into `zoo/` of the working directory, several at a time, with the limits of cells, each with a log
    in `folder`. A stopped build is resumed.

    If one fails, raises LadaError after the others are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    logs = [folder / f"{name}.txt" for name in names]
    with ThreadPoolExecutor(parallel) as pool, Processes() as processes:

        def one(name: str, log: Path) -> int:
            return processes.call([sys.executable, "-m", "lada", "zoo", "build", name], log)

        codes = list(pool.map(one, names, logs))
    if failed := [f"{name} (see {log})" for name, log, code in zip(names, logs, codes, strict=True) if code]:
        raise LadaError(f"zoo: could not be trained: {', '.join(failed)}")


def _sources(cell: Cell) -> Iterable[str]:
    everybody = (cell.config.server.model, *(client.model for client in cell.config.clients))
    return (model.source for model in everybody if model is not None and model.source)


def _there(name: str) -> bool:
    try:
        locate(f"{PREFIX}{name}")
    except InputError:
        return False
    return True
