"""events.jsonl gives a tracker what it would have got live; what is no run is refused in words."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import Recorder, study, timing, traffic

from lada.core.errors import InputError, LadaError
from lada.trackers.replay import read_events, replay

EVENTS = [
    {"kind": "run", "name": "n", "folder": "/elsewhere", "rounds": 1},
    {"kind": "round", "round": 0, "rounds": 1},
    timing("a", 0, "evaluate", 1.0),
    {"kind": "round", "round": 1, "rounds": 1},
    study("a", 1, "private"),
    traffic(1, "finish", "metrics", 5, 0),
    {"kind": "end", "status": "failed"},
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "my-run"
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 7\n")
    (folder / "events.jsonl").write_text("".join(json.dumps({"time": 0.0, **event}) + "\n" for event in EVENTS))
    return folder


def test_a_replay_gives_every_round_and_the_end(run: Path):
    tracker = Recorder()
    replay(run, "one", tracker)
    assert [call[:2] for call in tracker.calls] == [("start", "my-run"), ("log", 0), ("log", 1), ("finish", "failed")]
    assert tracker.calls[0][2:] == ({"seed": 7}, run)
    assert tracker.calls[2][2]["bytes/finish/metrics/up"] == 5


def test_a_run_that_was_killed_counts_as_stopped(run: Path):
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    (run / "events.jsonl").write_text("".join(lines[:5]) + lines[5][:20])
    tracker = Recorder()
    replay(run, "one", tracker)
    assert tracker.calls[-1] == ("finish", "stopped")
    assert tracker.calls[-2][2]["loss_first/a/private"] == 2.0
    assert len(list(read_events(run))) == 5


def test_an_empty_run_is_opened_and_closed(run: Path):
    (run / "events.jsonl").write_text("")
    tracker = Recorder()
    replay(run, "one", tracker)
    assert [call[0] for call in tracker.calls] == ["start", "finish"]


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("events.jsonl", None, "cannot read events.jsonl"),
        ("events.jsonl", "{}\nnonsense\n", "line 1 is no event"),
        ("events.jsonl", "nonsense\n", "line 1 is not JSON"),
        ("events.jsonl", "[]\n", "line 1 is no event"),
        ("events.jsonl", '{"kind": "study", "round": 1}\n', "line 1 is no event"),
        ("config.yaml", None, "cannot read config.yaml"),
        ("config.yaml", "a: [", "config.yaml is not YAML"),
        ("config.yaml", "", "config.yaml is not a mapping"),
    ],
)
def test_what_is_no_run_is_refused(run: Path, file: str, content: str | None, expected: str):
    (run / file).unlink()
    if content is not None:
        (run / file).write_text(content)
    with pytest.raises(InputError, match=expected):
        replay(run, "one", Recorder())


def test_a_tracker_that_fails_here_is_an_error(run: Path):
    with pytest.raises(LadaError, match="tracker one failed"):
        replay(run, "one", Recorder("log"))


def test_a_tracker_that_cannot_write_says_which_file(run: Path):
    class Full(Recorder):
        def start(self, name: str, config: Mapping[str, Any], folder: Path) -> None:
            (folder / "config.yaml" / name).mkdir(parents=True)

    with pytest.raises(NotADirectoryError, match=r"config\.yaml/"):
        replay(run, "one", Full())
