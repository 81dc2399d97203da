"""Following a file that grows, is cut, is replaced; and whether somebody is at work."""

import json
from pathlib import Path

import pytest
from followed import EVENTS, MORE, STARTED, folder, line
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.core.errors import InputError
from lada.federation.events import Tail
from lada.federation.run_lock import is_locked, run_lock
from lada.watching.watch import Loss, Missed, PartySnapshot, Snapshot, Watch


def test_a_run_under_way_in_figures(tmp_path: Path) -> None:
    watch = Watch(folder(tmp_path / "demo", EVENTS))
    with run_lock(watch.folder):
        now = watch.look()
    assert (now.run, now.state, now.round, now.rounds, now.started) == ("demo", "running", 1, 2, STARTED)
    assert now.notices == ("a: a batch was halved",)
    assert [party.name for party in now.parties] == ["llm", "a", "b"]
    assert now.parties[1] == PartySnapshot(
        name="a",
        doing="working",
        round=1,
        phase="private",
        verb="answer",
        done=1,
        total=4,
        tokens_per_second=30.0,
        tokens=590,
        last_seen=STARTED + 12.0,
        sent=100,
        received=11,
        missed=0,
        last_missed=None,
        evaluated=0,
        accuracy={"overall": 20.0, "own": 50.0},
        change=0.0,
        losses=(),
    )
    b = now.parties[2]
    assert (b.doing, b.phase, b.last_seen, b.missed) == ("asked", "contribute", None, 1)
    assert b.last_missed == Missed(round=0, phase="evaluate", why="silent (no reply)")


def test_a_loss_that_is_none_survives_json(tmp_path: Path) -> None:
    now = Watch(folder(tmp_path / "demo", EVENTS + MORE)).look()
    assert (now.state, now.over, now.elapsed) == ("finished", True, 16.0)
    again = Snapshot.model_validate_json(now.model_dump_json())
    (loss,) = again.parties[1].losses
    assert isinstance(loss, Loss)
    assert (loss.first, str(loss.last)) == (2.0, "nan")


@settings(max_examples=25)
@given(st.lists(st.integers(0, 10**4), max_size=6))
def test_reading_in_parts_equals_reading_at_once(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    run = folder(tmp_path_factory.mktemp("parts"), EVENTS + MORE)
    file = run / "events.jsonl"
    whole, data = Watch(run).look(), file.read_bytes()
    file.unlink()
    watch = Watch(run)
    assert watch.look().state == "waiting"
    for cut in sorted(cut % (len(data) + 1) for cut in cuts):
        file.write_bytes(data[:cut])
        watch.look()
    file.write_bytes(data)
    assert repr(watch.look()) == repr(whole)


def test_a_half_line_waits_for_its_end(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    tail = Tail(file)
    assert list(tail.new()) == []
    file.write_text(line({"n": 1}) + '{"n": ')
    assert list(tail.new()) == [{"n": 1}]
    assert list(tail.new()) == []
    with file.open("r+") as cut:  # as a resumed run does
        cut.truncate(len(line({"n": 1})))
    assert list(tail.new()) == []
    with file.open("a") as more:
        more.write(line({"n": 3}))
    assert list(tail.new()) == [{"n": 3}]
    assert (tail.rewritten, tail.unreadable) == (0, 0)


def test_lines_that_are_no_events_are_passed_over_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\x00\x00\x00\n\xff\n[1]\n\n" + line({"n": 1}).encode())
    tail = Tail(file)
    assert list(tail.new()) == [{"n": 1}]
    assert tail.unreadable == 4


@pytest.mark.parametrize("way", ["cut", "replaced"])
def test_another_file_is_read_from_its_beginning(tmp_path: Path, way: str) -> None:
    run = folder(tmp_path / "demo", EVENTS + MORE)
    watch = Watch(run)
    assert watch.look().parties[1].sent == 1100
    if way == "cut":
        folder(run, EVENTS[:3])
        assert [party.received for party in watch.look().parties] == [0, 10, 0]
    else:
        (run / "events.jsonl").rename(run / "old.jsonl")
        folder(run, EVENTS + MORE)
        assert watch.look().parties[1].sent == 1100
    folder(run, [])
    assert watch.look().parties == ()


def test_whether_somebody_is_at_work_decides_on_the_state(tmp_path: Path) -> None:
    run = folder(tmp_path / "demo", [])
    watch = Watch(run)
    assert watch.look().state == "waiting"
    states = []
    with run_lock(run):
        for events in (EVENTS[:1], EVENTS, [*EVENTS, MORE[-1]]):
            folder(run, events)
            states.append(watch.look().state)
    assert states == ["waiting", "running", "running"]  # the page is yet to be written
    assert watch.look().state == "finished"
    for status, state in (("failed", "failed"), ("stopped", "stopped"), (None, "stopped")):
        end = [{"kind": "end", "time": 20.0, "status": status}] if status else []
        now = Watch(folder(run, EVENTS + end)).look()
        assert (now.state, now.over) == (state, True)
    (run / "submission-1.json").write_text("{}")
    assert watch.look().state == "waiting"
    (run / "submission-1.outcome").write_text("{}")
    assert watch.look().state == "stopped"


def test_looking_takes_no_lock_away_and_writes_nothing(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with run_lock(tmp_path):
        assert is_locked(tmp_path)
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    (tmp_path / ".lock").touch()  # of a run that was killed
    assert not is_locked(tmp_path)
    with run_lock(tmp_path):
        assert is_locked(tmp_path)


@pytest.mark.parametrize("content", [None, "", "[]", '{"started": "now"}', "{}"])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "place.json").write_text(content)
    with pytest.raises(InputError, match=r"is not the folder of a run: it lacks a valid place\.json"):
        Watch(tmp_path)


def test_a_thousand_clients(tmp_path: Path) -> None:
    names = [f"c{number:03}" for number in range(1000)]
    events = [{**EVENTS[0], "clients": names}]
    for name in names:
        events += [{**EVENTS[2], "party": name}, {**EVENTS[5], "party": name}]
    run = folder(tmp_path / "demo", events)
    server, *clients = Watch(run).look().parties
    assert [party.name for party in clients] == names
    assert (server.sent, server.received) == (10_000, 100_000)
    size = (run / "events.jsonl").stat().st_size - len(line(events[0]))
    assert size / 2000 < 130  # bytes of an event: two for each client and phase
    assert json.loads(Watch(run).look().model_dump_json())["parties"][1000]["sent"] == 100
