"""Data, a model's answers or messages contain characters that act on the reader's terminal, page or log."""

import io
import json
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import harness
import typer
import yaml
from tiny_run import tiny
from typer.testing import CliRunner

from lada.cli.explained import explained
from lada.cli.main import app
from lada.core import logs
from lada.core.console import PlainConsole
from lada.core.errors import InputError
from lada.federation.client_app import ERROR_LOG, _log
from lada.federation.messages import Envelope
from lada.report.page import render
from lada.watching.live import LiveView

HOSTILE = {
    "clear the screen": "\x1b[2J\x1b[H",
    "retitle the window": "\x1b]0;owned\x07",
    "a link to elsewhere": "\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\",
    "paste into the shell": "\x1b]52;c;ZXZpbA==\x07",
    "one-byte CSI": "\x9b31m",
    "go back over the line": "ok\x08\x08\rno",
    "turn the line around": "\u202egnp.exe\u2066",
    "a line that some see": "a\u2028error: none\x85b",
    "unseen tags": "\U000e0041\U000e0042",
    "rich's markup": "[link=http://evil]here[/link][blink]x[/blink]",
}
SEEN = "marker"
ACTS = "\x1b\x07\x08\r\x9b\x85\u202e\u2066\u2028\U000e0041"


def got_through(text: str, what: str) -> bool:
    """Return whether a hostile text still acts in what was printed, or its markup was taken for such."""
    assert SEEN in text, text
    return any(c in text for c in ACTS) or ("markup" in what and "[blink]" not in text)


def command(*arguments: str) -> str:
    """Run a command and return what it printed."""
    return CliRunner().invoke(app, list(arguments)).output


def tasks_show(folder: Path, text: str) -> str:
    """Show a task whose questions, answers and domains are hostile."""
    for name in ("train", "public", "test"):
        rows = [{"question": f"{name} {i} {text}", "answer": f"a{i}", "rationale": text} for i in range(6)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "kind": "files",
        "partition": {"by": "iid"},
        **{name: f"{name}.jsonl" for name in ("train", "public", "test")},
    }
    data = tiny(task=task)
    for client in data["clients"]:
        client["domains"] = []
    (folder / "run.yaml").write_text(yaml.safe_dump(data))
    return command("tasks", "show", str(folder / "run.yaml"))


def chat(folder: Path, text: str) -> str:
    """Ask a model that answers with a hostile text."""
    from lada.export import party

    answer = SimpleNamespace(text=text)
    learner = SimpleNamespace(answer=lambda *_, **__: [answer])
    trained = SimpleNamespace(learner=lambda: learner, config=SimpleNamespace(seed=0))
    with patch.object(party, "open_party", lambda *_: trained):
        return CliRunner().invoke(app, ["chat", str(folder), "--party", "clinic"], input="hello\n").output


def run_folder(folder: Path, text: str) -> Path:
    """Write the folder of a run in which all that others say is hostile."""
    (folder / "place.json").write_text(json.dumps({"base": str(folder), "started": 0.0}))
    events: list[dict[str, Any]] = [
        {"kind": "run", "name": "r", "folder": "f", "rounds": 1, "server": "llm", "clients": ["clinic"]},
        {"kind": "round", "round": 0, "rounds": 1},
        {"kind": "missing", "party": "clinic", "round": 0, "phase": "evaluate", "why": f"x\n{text}"},
        {"kind": "notice", "text": f"y\nerror: {text}"},
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps({"time": 1.0, **e}) + "\n" for e in events))
    return folder


def report(folder: Path, text: str) -> str:
    """Make the page of a run whose notices and shown answers are hostile."""
    sys.path.append(str(harness.ROOT / "tests" / "report"))
    from synthetic_run import make_results, write_run  # pyright: ignore[reportMissingImports] - a path of pytest

    results = make_results()
    seen = tuple(one.model_copy(update={"question": text, "answer": text}) for one in results.shown)
    write_run(folder, results.model_copy(update={"notices": (text,), "shown": seen}))
    return render(folder).read_text(encoding="utf-8")


def live(_folder: Path, text: str) -> str:
    """Show an event."""
    out = io.StringIO()
    view = LiveView(PlainConsole(file=out, force_terminal=False))
    view.emit({"kind": "phase", "time": 0.0, "party": text, "phase": f"x\n{text}"})
    return out.getvalue()


def error(_folder: Path, text: str) -> str:
    """Fail with an error that repeats the text."""
    probe = typer.Typer()

    @probe.command()
    def fail() -> None:
        with explained():
            raise InputError(f"column {text} is wrong")

    return CliRunner().invoke(probe, []).output


def log(folder: Path, text: str) -> str:
    """Log the text in both forms, and as the cause of an error."""
    record = logging.LogRecord("lada.worker", logging.ERROR, "", 0, "%s", (f"x\n{text}",), None)
    lines = [logs.Lines("%(asctime)s %(message)s").format(record), logs.JsonLines().format(record)]
    _log(folder, Envelope("run", "learn", 1, "clinic"), "abcd1234", f"ValueError: {text}\n")
    return "\n".join([*lines, (folder / ERROR_LOG).read_text(encoding="utf-8")])


WAYS: dict[str, Callable[[Path, str], str]] = {
    "tasks show": tasks_show,
    "chat": chat,
    "watch": lambda folder, text: command("watch", str(run_folder(folder, text)), "--once"),
    "watch --json": lambda folder, text: command("watch", str(run_folder(folder, text)), "--json"),
    "report": report,
    "live view": live,
    "error": error,
    "logs": log,
}


def attack() -> harness.Count:
    """Try each hostile text in each place where somebody reads it."""
    succeeded = []
    for way, show in WAYS.items():
        for what, text in HOSTILE.items():
            with tempfile.TemporaryDirectory() as folder:
                told = show(Path(folder), f"{SEEN}{text}")
            if got_through(told, what):
                succeeded.append(f"{way}: {what}")
    print(*succeeded, sep="\n")
    return harness.Count(len(WAYS) * len(HOSTILE), len(succeeded), "LaDa spells such characters out, as \\x1b.")


if __name__ == "__main__":
    harness.main(attack)
