"""Benchmarks put clocks around functions by name; those functions are there."""

import json
from itertools import count

import large_round
import pytest
import scale_scripted
from stages import clocked, find


@pytest.mark.parametrize("where", [*large_round.STAGES.values(), *scale_scripted.STAGES.values()])
def test_each_stage_is_a_function(where: str):
    owner, name = find(where)
    assert callable(getattr(owner, name))


def test_a_clock_adds_up_calls_and_is_taken_off_again(monkeypatch: pytest.MonkeyPatch):
    ticks = count()
    monkeypatch.setattr("stages.time.process_time", lambda: next(ticks))
    before, seconds = json.dumps, {"writing": 5.0, "other": 2.0}
    with clocked({"writing": "json:dumps"}, seconds):
        assert [json.dumps(1), json.dumps(2)] == ["1", "2"]
        with pytest.raises(TypeError):
            json.dumps(object())
    json.dumps(3)
    assert seconds == {"writing": 3, "other": 2.0}
    assert json.dumps is before


def test_a_stage_that_is_not_there_is_told():
    with pytest.raises(AttributeError, match="nothing_such"):
        find("json:nothing_such")
