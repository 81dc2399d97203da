"""The notebooks of the documentation: committed without outputs, and their code runs."""

import ast
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tiny_run import tiny

from lada.report.interactive import Comparison, RunResults

SLOW = (pytest.mark.slow, pytest.mark.timeout(1200))
NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs").glob("*.ipynb"))


def code_cells(file: Path) -> Iterator[dict[str, Any]]:
    yield from (cell for cell in json.loads(file.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code")


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell and return the value that it shows: that of its last statement, where that is an expression."""
    tree = ast.parse(source)
    *body, last = tree.body
    if not isinstance(last, ast.Expr):
        exec(compile(tree, "cell", "exec"), names)
        return None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
def test_a_notebook_is_committed_without_outputs(file: Path) -> None:
    cells = list(code_cells(file))
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=SLOW)], ids=["tiny", "whole"])
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
def test_its_code_runs(file: Path, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a notebook that is not run whole, the configuration is replaced by a tiny one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, Any] = {}
    values = []
    for cell in code_cells(file):
        if all(find_spec(package) for package in cell["metadata"].get("tags", ())):
            values.append(run_cell("".join(cell["source"]), names))
        if "config" in names and not whole:
            names["config"] = tiny()
    kinds = {type(value) for value in values}
    assert {RunResults, Comparison} <= kinds
    assert values[-1] == tmp_path / "runs" / "lada" / "report.html"
