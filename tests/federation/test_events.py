import pytest

from lada.federation.events import mend, paused


def test_an_event_without_a_time_and_a_clock_that_went_back_count_as_no_pause():
    events = [
        {"kind": "run", "time": 5.0},
        {"kind": "round"},
        {"time": "x"},
        {"time": 9.0},
        {"kind": "run", "time": 2.0},
    ]
    assert paused(events) == 0.0


def test_a_last_line_that_was_cut_short_is_taken_away_and_that_is_said(tmp_path):
    file = tmp_path / "events.jsonl"
    assert not mend(file)
    file.write_bytes(b'{"a": 1}\n{"b"')
    assert mend(file)
    assert file.read_bytes() == b'{"a": 1}\n'
    assert not mend(file)


@pytest.mark.parametrize(
    ("events", "seconds"),
    [
        ([], 0.0),
        ([("run", 0.5), ("round", 2.0), ("end", 9.0)], 0.0),
        ([("run", 0.5), ("round", 2.0), ("run", 102.0), ("round", 103.0), ("run", 110.5)], 107.5),
    ],
)
def test_a_pause_ends_where_a_run_is_begun_again(events, seconds):
    assert paused({"kind": kind, "time": time} for kind, time in events) == seconds
