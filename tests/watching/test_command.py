"""`lada watch`: a snapshot, JSON, the live view in a terminal, and how each ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from followed import EVENTS, MORE, STARTED, folder
from rich.console import Console
from typer.testing import CliRunner

from lada.cli.main import app
from lada.cli.watched import shown
from lada.federation.run_lock import run_lock
from lada.watching.watch import Watch


def lines(run: Path, height: int | None = None, width: int = 160) -> list[str]:
    """Return what is shown of a run three seconds after its 13th, with single spaces."""
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(shown(Watch(run).look(), STARTED + 16.0, height))
    return [re.sub(r"\s+", " ", line).strip() for line in capture.get().splitlines()]


def test_what_is_shown_of_a_run(tmp_path: Path) -> None:
    run = folder(tmp_path / "demo", EVENTS)
    with run_lock(run):
        head, heads, *rest = lines(run)
    assert re.fullmatch(r"demo: running, round 1 of 2, \d+ h \d+ min", head)
    assert heads == "party doing done tokens/s seen ago sent received accuracy change loss"
    assert rest == [
        "llm – 7.5 s 33 B 100 B 60.0 % +0.0",
        "a private (answer) 1/4 30 4.0 s 100 B 11 B 20.0 % +0.0",
        "b asked: contribute (missing 1×) 0 B 22 B",
        "note: a: a batch was halved",
    ]
    head, _, *rest = lines(folder(tmp_path / "demo", EVENTS + MORE))
    assert head == "demo: finished, round 1 of 2, 16.0 s"
    assert rest[1] == "a answered 3.0 s 1.1 kB 11 B 32.5 % +12.5 2.000 → –"


def test_who_is_missing_is_told_with_phase_and_reason(tmp_path: Path) -> None:
    assert "missing in round 0, evaluate: silent (no reply)" in lines(folder(tmp_path / "demo", EVENTS[:8]))[4]


def test_names_and_notices_are_no_markup(tmp_path: Path) -> None:
    notice = {"kind": "notice", "time": 9.0, "text": "[red]a[/red] [/x]"}
    run = folder(tmp_path / "[b]demo", [{**EVENTS[0], "clients": ["[i]x[/y]"]}, notice])
    told = lines(run)
    assert told[0].startswith("[b]demo: stopped")
    assert told[3].startswith("[i]x[/y]")
    assert told[-1] == "note: [red]a[/red] [/x]"


def test_in_a_small_terminal_those_are_shown_who_matter_most(tmp_path: Path) -> None:
    names = [f"c{number:02}" for number in range(50)]
    missing = {**EVENTS[6], "party": "c49"}
    told = lines(folder(tmp_path / "demo", [{**EVENTS[0], "clients": names}, missing]), height=10)
    assert [line.split()[0] for line in told[2:7]] == ["llm", "c00", "c01", "c02", "c49"]
    assert told[7:] == ["and 46 parties more; --once shows all"]


def invoke(*arguments: str):
    return CliRunner().invoke(app, ["watch", *arguments])


def test_without_a_terminal_it_prints_once_and_ends(tmp_path: Path) -> None:
    run = str(folder(tmp_path / "demo", EVENTS + MORE))
    for more in ([], ["--once"]):
        result = invoke(run, *more)
        assert result.exit_code == 0
        assert result.output.startswith("demo: finished, round 1 of 2, 16.0")
    result = invoke(run, "--json")
    assert json.loads(result.output) == json.loads(Watch(Path(run)).look().model_dump_json())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "is not the folder of a run"),
        (["demo", "--once", "--metrics", "0"], "metrics are served until you stop the command"),
        (["demo", "--metrics", "70000"], "70000 is not in the range"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "demo", EVENTS)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in re.sub(r"[\s│]+", " ", result.output)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_the_live_view_follows_and_ctrl_c_leaves_a_clean_screen(tmp_path: Path) -> None:
    import pty

    run = folder(tmp_path / "demo", EVENTS)
    ours, its = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TERM": "xterm"}
    environment |= {"COLUMNS": "200", "LINES": "30"}
    command = [sys.executable, "-m", "lada", "watch", str(run), "--metrics", "0"]
    seen = b""

    def until(pattern: bytes) -> bytes:
        nonlocal seen
        deadline = time.monotonic() + 120
        while not (found := re.search(pattern, seen)):
            assert time.monotonic() < deadline, seen
            seen += os.read(ours, 65536)
        return found[0]

    with run_lock(run):
        process = subprocess.Popen(
            command,
            stdin=its,
            stdout=its,
            stderr=its,
            env=environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(its)
        address = until(rb"http://127\.0\.0\.1:\d+/metrics").decode()
        until(rb"running")
        assert 'lada_run_state{run="demo",state="running"} 1.0' in httpx.get(address, trust_env=False).text
        folder(run, EVENTS + MORE)
        until(rb"answered")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    while True:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # nobody holds the other end any more
            break
    os.close(ours)
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l")  # the cursor is shown again
    assert b"Traceback" not in seen
    assert b"Aborted" not in seen
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, trust_env=False)
