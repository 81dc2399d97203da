"""An error in how a command was called repeats what was typed, and nothing in that acts."""

import unicodedata

import pytest
from typer.testing import CliRunner

from lada.cli.main import app

HOSTILE = "\x1b[2J\x9b\u202e\u200f\u061c\U000e0041"
TOLD = r"\x1b[2J\x9b\u202e\u200f\u061c\U000e0041"


@pytest.mark.parametrize(
    "words",
    [
        [f"--{HOSTILE}"],
        [HOSTILE],
        ["run", f"--{HOSTILE}"],
        ["run", "config.yaml", HOSTILE],
        ["run", "config.yaml", f"-{HOSTILE}"],
        ["federation", HOSTILE],
        ["federation", "init", "config.yaml", f"--{HOSTILE}"],
        ["federation", "init", "config.yaml", "--port", HOSTILE],
        ["examples", "show", "demo", HOSTILE],
        ["methods", "fedmkt", HOSTILE],
    ],
)
def test_what_was_typed_wrong_is_spelled_out(words):
    done = CliRunner().invoke(app, words, env={"TERMINAL_WIDTH": "300", "COLUMNS": "300"})
    assert done.exit_code == 2
    assert "Error" in done.stderr
    assert [c for c in done.output if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"] == []
    assert (TOLD if words[-1] != f"-{HOSTILE}" else r"-\x1b") in done.output


def test_other_usage_errors_and_help_are_as_they_were():
    runner = CliRunner()
    assert "Missing argument 'CONFIG'." in runner.invoke(app, ["run"]).stderr
    assert runner.invoke(app, ["runn"]).stderr.count("Did you mean 'run'?") == 1
    assert "Usage:" in runner.invoke(app, ["federation"]).output
    assert runner.invoke(app, ["--help"]).exit_code == 0
