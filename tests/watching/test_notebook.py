"""A notebook's cell shows a run as one output that grows, not as an output per line."""

import sys
from types import ModuleType
from typing import Any

import pytest

from lada.core.console import PlainConsole
from lada.watching.live import LiveView


class Cell:
    """Stands in for IPython's `display` and its handle: keeps the outputs of a cell."""

    def __init__(self) -> None:
        self.outputs: list[str] = []

    def display(self, content: dict[str, str], *, raw: bool, display_id: bool) -> "Cell":
        assert raw
        assert display_id
        self.outputs.append(content["text/plain"])
        return self

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.outputs[-1] = content["text/plain"]


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    cell, module = Cell(), ModuleType("IPython.display")
    vars(module)["display"] = cell.display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return cell


EVENTS: tuple[dict[str, Any], ...] = (
    {"kind": "run", "name": "demo", "folder": "runs/demo"},
    {"kind": "round", "time": 1.0, "round": 1, "rounds": 2},
    {"kind": "phase", "time": 2.5, "party": "clinic\x1b", "phase": "private"},
)


def test_all_lines_of_a_run_are_one_output(cell: Cell):
    with LiveView(PlainConsole(force_jupyter=True)) as view:
        for event in EVENTS:
            view.emit(event)
    assert cell.outputs == [
        "run demo in runs/demo\n[   1.0 s] round 1 of 2\n[   2.5 s] clinic\\x1b: private",
    ]


def test_elsewhere_they_are_printed(cell: Cell, capsys: pytest.CaptureFixture[str]):
    with LiveView(PlainConsole(force_jupyter=False)) as view:
        view.emit(EVENTS[0])
    assert cell.outputs == []
    assert capsys.readouterr().out == "run demo in runs/demo\n"
