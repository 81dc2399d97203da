import pytest

from lada.federation.events import paused


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
