"""Each event gives the figures that one would read off it by hand."""

import math

import pytest
from fakes import evaluation, interval, progress, study, timing, traffic
from hypothesis import given
from hypothesis import strategies as st

from lada.trackers.figures import LENGTH, MANY_DOMAINS, Figures, name


def figures(*events: dict) -> dict[int, dict[str, float]]:
    taken = Figures()
    for event in events:
        taken.take(event)
    return taken.by_round()


def test_an_evaluation_gives_accuracies_with_the_ends_of_their_intervals():
    assert figures(evaluation("a", 2)) == {
        2: {
            "accuracy/a/overall": 50.0,
            "accuracy_low/a/overall": 45.0,
            "accuracy_high/a/overall": 55.0,
            "accuracy/a/own": 75.0,
            "accuracy_low/a/own": 70.0,
            "accuracy_high/a/own": 80.0,
            "accuracy/a/domain/farm": 75.0,
            "accuracy/a/difficulty/2": 40.0,
            "calibration_error/a": 0.25,
        }
    }


def test_very_many_domains_are_told_by_scope_alone():
    few = {f"d{i}": interval(1.0) for i in range(MANY_DOMAINS)}
    assert "accuracy/a/domain/d7" in figures(evaluation("a", 1, domains=few))[1]
    told = figures(evaluation("a", 1, domains=few | {"one more": interval(1.0)}))[1]
    assert not any("/domain/" in key for key in told)
    assert told["accuracy/a/overall"] == 50.0


def test_a_study_gives_its_losses_and_a_broken_one_says_so():
    told = figures(study("llm", 1, "distil"), study("a", 1, "private", last="NaN"))[1]
    assert told["loss_first/llm/distil"] == 2.0
    assert told["loss_last/llm/distil"] == 1.0
    assert (told["lessons/llm/distil"], told["tokens/llm/distil"]) == (16, 300)
    assert math.isnan(told["loss_last/a/private"])


def test_an_allocation_gives_its_sizes():
    event = {
        "kind": "allocation",
        "teacher": "a",
        "student": "llm",
        "round": 1,
        "candidates": 40,
        "chosen": 10,
        "from_teacher": 9,
        "right": None,
        "agreement": 12.5,
        "diagnostics": {"auc": 0.75},
    }
    assert figures(event) == {
        1: {
            "allocation/a/llm/candidates": 40,
            "allocation/a/llm/chosen": 10,
            "allocation/a/llm/from_teacher": 9,
            "allocation/a/llm/agreement": 12.5,
            "allocation/a/llm/diagnostics/auc": 0.75,
        }
    }


def test_seconds_and_tokens_of_a_phase_add_up_to_its_speed():
    told = figures(
        progress("a", 1, "judge", done=2, tokens=50),
        progress("a", 1, "judge", done=4, tokens=90),  # only the last counts: tokens are those so far
        timing("a", 1, "judge", 2.0),
        progress("a", 1, "judge", done=4, tokens=10),  # a second time, for another teacher
        timing("a", 1, "judge", 3.0),
        timing("a", 2, "judge", 7.0),
    )
    assert told == {
        1: {"seconds/a/judge": 5.0, "tokens_per_second/a/judge": 20.0},
        2: {"seconds/a/judge": 7.0},
    }


def test_a_phase_that_took_no_time_has_no_speed():
    assert figures(progress("a", 1, "p", 4, 9), timing("a", 1, "p", 0.0)) == {1: {"seconds/a/p": 0.0}}


def test_traffic_and_agreement():
    agreement = {"kind": "agreement", "party": "a", "round": 1, "share": 62.5}
    assert figures(traffic(1, "learn", "paths", 0, 500), traffic(1, "learn", "metrics", 70, 0), agreement) == {
        1: {"bytes/learn/paths/down": 500, "bytes/learn/metrics/up": 70, "agreement/a": 62.5}
    }


def test_events_without_figures_give_none():
    assert figures({"kind": "run", "name": "n"}, {"kind": "notice", "text": "t"}, {"kind": "of tomorrow"}) == {}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("Ärzte & Co", "Ärzte _ Co"),
        ("a/b", "a_b"),
        ("", "_"),
        ("..", "_"),
        (" x. ", "x"),
        ("a\nb", "a_b"),
        ("医学", "医学"),
    ],
)
def test_names_are_what_every_tracker_takes(part: str, expected: str):
    assert name("accuracy", part) == f"accuracy/{expected}"


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_name_has_its_parts_whatever_they_hold(parts: list[str]):
    told = name(*parts).split("/")
    assert len(told) == len(parts)
    assert all(0 < len(part) <= LENGTH and part not in (".", "..") for part in told)
