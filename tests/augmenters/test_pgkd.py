"""PGKD: hard negatives, report and patience on tables that can be checked by hand."""

from math import nan

import numpy as np
import pytest

from lada.augmenters.base import Draft, Outcome, View
from lada.augmenters.pgkd import (
    Pgkd,
    PgkdOptions,
    by_answer,
    by_domain,
    hard_negatives,
    stopped,
    write_report,
)
from lada.core.terms import Sample

TABLE = (("a", 0.9, "b"), ("a", 0.6, "a"), ("b", 0.8, "c"), ("c", 0.95, "a"), ("b", 0.4, "b"))
"""Predicted class, confidence and gold class."""
SAMPLES = tuple(
    Sample(f"s{place}", f"question {place}", gold, domain="farm" if place < 2 else "shop")
    for place, (_, _, gold) in enumerate(TABLE)
)
OUTCOMES = tuple(
    Outcome(f"s{place}", given, given == gold, confidence) for place, (given, confidence, gold) in enumerate(TABLE)
)
CHECKED = tuple(zip(OUTCOMES, SAMPLES, strict=True))
ERRORS = (1.0, 0.8, 0.85, 0.9, 0.7)


def test_hard_negatives_are_wrong_and_sorted_by_confidence():
    assert [(each.sample_id, each.confidence) for each in hard_negatives(OUTCOMES)][:2] == [("s3", 0.95), ("s0", 0.9)]
    unknown = (Outcome("x", "a", False, nan), Outcome("y", "a", None, 0.99), Outcome("z", "a", False, 0.1))
    assert [each.sample_id for each in hard_negatives(unknown)] == ["z"]


def test_two_rounds_without_a_new_minimum_stop_after_the_fourth():
    stops = [stopped(ERRORS[:number], 2) for number in range(len(ERRORS) + 1)]
    assert stops == [False, False, False, False, True, False]  # it never comes to the fifth
    assert int(np.argmin(ERRORS[:4])) + 1 == 2


def test_the_report_has_accuracy_and_figures_by_class():
    assert by_answer(CHECKED) == {
        "a": {"samples": 2, "precision": 0.5, "recall": 0.5, "F1": 0.5},
        "b": {"samples": 2, "precision": 0.5, "recall": 0.5, "F1": 0.5},
        "c": {"samples": 1, "precision": 0.0, "recall": 0.0, "F1": 0.0},
    }
    assert by_domain(CHECKED) == {
        "farm": {"samples": 2, "accuracy": 0.5},
        "shop": {"samples": 3, "accuracy": pytest.approx(1 / 3)},
    }
    assert write_report(CHECKED, "answers").splitlines() == [
        "Validation accuracy 0.4.",
        "a: samples 2, precision 0.5, recall 0.5, F1 0.5",
        "b: samples 2, precision 0.5, recall 0.5, F1 0.5",
        "c: samples 1, precision 0, recall 0, F1 0",
    ]
    many = [(Outcome(str(i), "x", False, 0.5), Sample(str(i), "?", "y", domain=f"{i:0200}")) for i in range(60)]
    lines = write_report(many, "domains").splitlines()
    assert lines[-1] == "10 more classes"
    assert len(lines) == 52
    assert max(map(len, lines)) < 100


def view(round: int, *outcomes: Outcome) -> View:
    held = Sample("v", "held question", "gold", domain="farm")
    checked = Outcome("v", "gold", round == 2, 0.5)
    return View(round, SAMPLES, (held,), {"a": (*outcomes, checked)} if outcomes else {}, seed=round)


def test_the_prompt_shows_report_and_groups_but_no_held_out_sample():
    augmenter = Pgkd(PgkdOptions(new=3, per_call=2, correct=1, incorrect=1, hard=2, validation=0.5))
    state, request = augmenter.ask(augmenter.init(0), view(2, *OUTCOMES))
    assert [prompt.count for prompt in request.prompts] == [2, 1]
    assert request.diagnostics == {"validation_error": 0.0, "stopped": 0.0, "hard_negatives": 3.0}
    assert state["errors"].tolist() == [0.0]
    for prompt in request.prompts:
        assert "Validation accuracy 1." in prompt.text
        assert prompt.text.endswith("Question:")
        assert "held question" not in prompt.text
        assert "v" not in prompt.sources
        heads = [
            prompt.text.index(head) for head in ("answer these correctly", "answer these wrongly", "sure of wrong")
        ]
        assert heads == sorted(heads)
        assert prompt.text.index("question 3", heads[-1]) < prompt.text.index("question 0", heads[-1])
        assert set(prompt.sources) >= {"s0", "s3"}
    assert augmenter.ask(augmenter.init(0), view(2, *OUTCOMES)) == (state, request)


def test_it_asks_for_nothing_before_the_first_report_and_after_its_patience():
    augmenter = Pgkd(PgkdOptions(patience=2))
    state, request = augmenter.ask(augmenter.init(0), view(1))
    assert not request.prompts
    asked = []
    for round in range(2, 6):  # the first error is the lowest
        state, request = augmenter.ask(state, view(round, *OUTCOMES))
        asked.append(bool(request.prompts))
    assert asked == [True, True, False, False]
    assert state["errors"].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert request.diagnostics["stopped"] == 1.0


def test_it_keeps_every_draft_that_it_is_given():
    augmenter = Pgkd(PgkdOptions())
    drafts = [Draft("?", "1", "answer 1", 0.6, nan)] * 3
    assert augmenter.keep({}, drafts, [])[1].places == (0, 1, 2)
