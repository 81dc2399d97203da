"""Models of the zoo that a suite's cells need and nobody has trained yet."""

import subprocess
import sys
from collections.abc import Iterable

from lada.bench.running import bounded
from lada.bench.suite import Cell
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


def pretrain(names: Iterable[str]) -> None:
    """Train models into `zoo/` of the working directory, bounded as cells are; a build that was stopped goes on.

    Raises LadaError where one fails, after its own words on the terminal.
    """
    for name in names:
        if subprocess.run([sys.executable, "-m", "lada", "zoo", "build", name], env=bounded(), check=False).returncode:
            raise LadaError(f"zoo: {name} could not be trained; what it said stands above")


def _sources(cell: Cell) -> Iterable[str]:
    everybody = (cell.config.server.model, *(client.model for client in cell.config.clients))
    return (model.source for model in everybody if model is not None and model.source)


def _there(name: str) -> bool:
    try:
        locate(f"{PREFIX}{name}")
    except InputError:
        return False
    return True
