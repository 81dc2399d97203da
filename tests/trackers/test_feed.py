"""Trackers get each figure once, and one that fails disturbs nobody."""

from pathlib import Path

import pytest
from fakes import Recorder, study, timing, traffic

from lada.trackers.feed import LOG, Feed


def feed(folder: Path, **trackers: Recorder) -> tuple[Feed, list[str]]:
    said: list[str] = []
    return Feed(trackers, folder, said.append), said


def test_figures_go_out_once_and_by_their_own_round(tmp_path: Path):
    tracker = Recorder()
    fed, said = feed(tmp_path, one=tracker)
    fed.start({"seed": 3})
    fed.take(timing("a", 0, "evaluate", 2.0))
    fed.log()
    fed.log()
    fed.take(traffic(1, "learn", "paths", 0, 9))
    fed.take(timing("a", 2, "evaluate", 3.0))
    fed.finish("finished")
    assert tracker.calls == [
        ("start", tmp_path.name, {"seed": 3}, tmp_path),
        ("log", 0, {"seconds/a/evaluate": 2.0}),
        ("log", 1, {"bytes/learn/paths/down": 9}),
        ("log", 2, {"seconds/a/evaluate": 3.0}),
        ("finish", "finished"),
    ]
    assert said == []


@pytest.mark.parametrize("breaks", ["start", "log", "finish"])
def test_a_tracker_that_fails_is_told_of_once_and_the_others_go_on(breaks: str, tmp_path: Path):
    bad, good = Recorder(breaks), Recorder()
    fed, said = feed(tmp_path, bad=bad, good=good)
    fed.start({})
    for round in (0, 1):
        fed.take(study("a", round, "private"))
        fed.log()
    fed.finish("stopped")
    assert [call[0] for call in good.calls] == ["start", "log", "log", "finish"]
    assert bad.calls[-1][0] == breaks
    assert len(bad.calls) == {"start": 1, "log": 2, "finish": 4}[breaks]
    (told,) = said
    assert "bad failed (OSError" in told
    assert "hunter2" not in told  # what stands in a report must hold no secret
    assert "hunter2" in (tmp_path / LOG).read_text()


def test_a_log_that_cannot_be_written_breaks_nothing(tmp_path: Path):
    fed, said = feed(tmp_path / "gone", bad=Recorder("start"))
    fed.start({})
    assert len(said) == 1
