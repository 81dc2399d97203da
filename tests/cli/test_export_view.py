"""How far an export is stands on the screen from its first second on."""

import io
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lada.export.export as exporting
from lada.cli.export import ExportView
from lada.cli.main import app
from lada.core.console import PlainConsole
from lada.export.check import Check


def test_a_pipe_gets_a_line_as_each_step_begins():
    out = io.StringIO()
    with ExportView(PlainConsole(file=out)) as view:
        for done in range(3):
            view.tell("answers [of] the party", done, 2)
        view.tell("files written", 0, 1)
    assert out.getvalue().splitlines() == ["answers [of] the party …", "files written …"]


def test_it_begins_before_pytorch_is_imported(monkeypatch: pytest.MonkeyPatch):
    def export(run: Path, party: str, to: str, *, tell: Any, **more: Any) -> exporting.Exported:
        tell("weights read", 0, 1)
        return exporting.Exported(Path("out"), Check("hf", "texts", 1, 1, 0.0), ())

    monkeypatch.setattr("lada.export.party.find_party", lambda run, party: None)
    monkeypatch.setattr(exporting, "export", export)
    done = CliRunner().invoke(app, ["export", "run", "--party", "clinic", "--to", "hf"])
    assert done.output.splitlines()[:2] == ["libraries imported …", "weights read …"]
