"""Events folded to figures that can be added up by eye, whatever else stands between them."""

import math

from followed import EVENTS, MORE
from hypothesis import given
from hypothesis import strategies as st

from lada.watching.health import Health, Work


def folded(*events: dict) -> Health:
    health = Health()
    for event in events:
        health.take(event)
    return health


def test_a_run_under_way() -> None:
    health = folded(*EVENTS)
    assert (health.name, health.server, health.round, health.rounds) == ("demo", "llm", 1, 2)
    assert (health.begun, health.status, health.time, health.unreadable) == (True, None, 12.0, 0)
    assert list(health.notices) == ["a: a batch was halved"]
    assert list(health.parties) == ["llm", "a", "b"]
    a, b, llm = (health.parties[name] for name in ("a", "b", "llm"))
    assert (a.doing, a.seen, a.sent, a.received) == ("working", 12.0, 100, 11)
    assert a.work == Work(1, "private", "answer", done=1, total=4, tokens=90, since=4.0, seconds=7.0)
    assert a.work
    assert a.work.speed == 30.0  # 90 tokens in the 3 s since the study ended
    assert a.tokens == 300 + 200 + 90
    assert (a.evaluated, a.before, a.accuracy) == (0, {"overall": 20.0, "own": 50.0}, {"overall": 20.0, "own": 50.0})
    assert a.change == 0.0
    assert (b.doing, b.seen, b.sent, b.received) == ("asked", None, 0, 22)
    assert b.missed == {(0, "evaluate"): "silent (no reply)"}
    assert (llm.doing, llm.seen, llm.sent, llm.received) == ("nothing", 8.5, 33, 100)
    assert llm.work == Work(0, "evaluate")


def test_a_run_that_is_over() -> None:
    health = folded(*EVENTS, *MORE)
    a = health.parties["a"]
    assert (health.status, a.doing, a.sent, a.seen) == ("finished", "answered", 1100, 13.0)
    assert (a.change, a.evaluated, a.accuracy) == (12.5, 1, {"overall": 32.5, "own": 75.0})
    ((phase, (round, first, last)),) = a.losses.items()
    assert (phase, round, first) == ("private", 1, 2.0)
    assert math.isnan(last)
    assert (a.studied_tokens, a.tokens) == (500, 590)


def test_a_run_that_goes_on_waits_anew_and_keeps_its_figures() -> None:
    health = folded(*EVENTS, MORE[-1])
    assert {party.doing for party in health.parties.values()} == {"nothing"}
    health = folded(*EVENTS, EVENTS[0])
    assert (health.begun, health.status, health.round) == (False, None, 1)
    assert {party.doing for party in health.parties.values()} == {"nothing"}
    assert (health.parties["a"].sent, health.parties["a"].change) == (100, 0.0)
    health.take(EVENTS[6])  # told again, and the same phase
    assert (health.parties["b"].doing, len(health.parties["b"].missed)) == ("missing", 1)


def test_of_a_far_client_the_tokens_are_those_it_studied() -> None:
    assert folded(EVENTS[0], MORE[2]).parties["a"].tokens == 500


def test_a_verb_that_begins_again_in_one_phase_counts_anew() -> None:
    first, second = EVENTS[15], {**EVENTS[15], "seconds": 6.0}
    a = folded(first, second).parties["a"]
    assert (a.tokens, a.work and a.work.speed) == (600, 75.0)  # 300 tokens in the 4 s after the first ended


def test_events_of_runs_before_messages_were_told() -> None:
    old = {key: value for key, value in EVENTS[0].items() if key not in ("server", "clients")}
    health = folded(old, *(event for event in EVENTS[1:] if event["kind"] != "message"))
    assert (health.server, sorted(health.parties)) == (None, ["a", "b", "llm"])


ODD = st.dictionaries(
    st.sampled_from(["party", "round", "bytes", "status", "text"]), st.integers() | st.text(), max_size=5
)


@given(
    st.lists(st.tuples(st.integers(0, len(EVENTS)), st.text().filter(lambda kind: "_" not in kind), ODD), max_size=6)
)
def test_a_kind_that_is_not_known_changes_nothing(strangers: list[tuple[int, str, dict]]) -> None:
    events = list(EVENTS)
    known = {event["kind"] for event in [*EVENTS, *MORE]}
    for place, kind, rest in strangers:
        if kind not in known:
            events.insert(place, {**rest, "kind": kind, "time": 0.5})
    assert _all(folded(*events)) == _all(folded(*EVENTS))


@given(st.sampled_from(EVENTS + MORE), st.data())
def test_an_event_that_lacks_something_is_counted_and_breaks_nothing(event: dict, data: st.DataObject) -> None:
    keys = [key for key in event if key != "kind"]
    broken = dict(event)
    broken[data.draw(st.sampled_from(keys))] = data.draw(st.none() | st.just([]) | st.just({}) | st.just("x"))
    health = folded(*EVENTS, broken)
    assert health.unreadable in (0, 1)  # a name may be anything
    for known in MORE:
        health.take(known)
    assert health.status == "finished"


def test_what_lacks_a_key_is_counted() -> None:
    health = folded(
        {"kind": "message", "time": 1.0}, {"kind": "round"}, {"time": "soon"}, {"kind": "end", "time": 1e400}
    )
    assert health.unreadable == 4


def _all(health: Health) -> tuple:
    return tuple(repr(value) for value in vars(health).values())
