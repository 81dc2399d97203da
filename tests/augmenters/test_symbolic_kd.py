"""Symbolic KD: the critic and its threshold by recall, against slow references and by properties."""

from collections import Counter
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.augmenters.base import Draft, View
from lada.augmenters.symbolic_kd import RIDGE, SymbolicKd, SymbolicKdOptions, critic, features, fit, threshold
from lada.core.terms import Origin, Sample

SAMPLES = tuple(Sample(f"s{place}", f"question {place}", "1" if place < 8 else None) for place in range(10))


def draft(agreement: float, likelihood: float = -0.1, right: bool | None = None) -> Draft:
    return Draft("?", "1", "answer 1", agreement, likelihood, right)


def view(**more: object) -> View:
    return View(**{"round": 1, "samples": SAMPLES, "validation": (), "outcomes": {}, "seed": 5, **more})  # type: ignore[arg-type]


def test_the_threshold_is_the_score_of_the_last_sample_that_recall_needs():
    scores = np.array([0.9, 0.2, 0.7, 0.4, 0.6])
    assert [threshold(scores, recall) for recall in (0.2, 0.5, 0.6, 0.8, 1.0)] == [0.9, 0.6, 0.6, 0.4, 0.2]
    assert threshold(np.array([]), 0.8) == inf
    assert threshold(np.array([nan, 0.3]), 1.0) == 0.3


@given(st.lists(st.floats(0, 1), min_size=1, unique=True), st.floats(0.01, 1))
def test_recall_is_met_within_one_sample(scores: list[float], recall: float):
    found = np.mean(np.array(scores) >= threshold(np.array(scores), recall))
    assert recall - 1e-6 <= found < recall + 1 / len(scores) + 1e-6


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_lower_recall_keeps_fewer(scores: list[float], one: float, other: float):
    low, high = sorted((one, other))
    assert threshold(np.array(scores), low) >= threshold(np.array(scores), high)


def test_the_critic_minimises_its_loss():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(40), rng.random(40), -rng.random(40)])
    right = rng.random(40) < x[:, 1]
    weights = fit(x, right)

    def loss(w: np.ndarray) -> float:  # spelled out
        p = [1 / (1 + np.exp(-sum(a * b for a, b in zip(row, w, strict=True)))) for row in x]
        nll = -sum(np.log(each) if label else np.log(1 - each) for each, label in zip(p, right, strict=True))
        return nll + RIDGE / 2 * (w[1] ** 2 + w[2] ** 2)

    for step in np.vstack([np.eye(3), -np.eye(3)]) * 1e-3:
        assert loss(weights + step) > loss(weights)
    assert critic(np.array([[1.0, 0.0, 0.0]]), np.array([0.0, 1.0, 1.0])) == pytest.approx([0.5])
    assert critic(np.array([[1.0, 2.0, -1.0]]), np.array([0.5, 1.0, 0.5])) == pytest.approx([0.880797], abs=1e-6)


def test_one_kind_of_label_or_no_rows_leave_finite_weights():
    x = features([draft(0.6), draft(1.0)], likelihoods=True)
    assert np.isfinite(fit(x, np.array([True, True]))).all()
    assert fit(x[:0], np.array([], bool)).tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(fit(np.array([[1.0, nan, 0.0], [1.0, 0.5, 0.0]]), np.array([True, False]))).all()


def calibration() -> list[Draft]:
    """Return samples on which agreement tells right from wrong."""
    return [draft(1.0 if place % 4 < 2 else 0.2, -0.1, place % 4 < 2) for place in range(40)]


def test_a_perfect_critic_keeps_exactly_the_right_drafts():
    augmenter = SymbolicKd(SymbolicKdOptions(recall=1.0))
    state, kept = augmenter.keep({}, [draft(1.0), draft(0.2), draft(1.0), draft(0.2)], calibration())
    assert kept.places == (0, 2)
    assert kept.refused == Counter({"critic": 2})
    assert kept.diagnostics["calibration_right"] == 0.5
    assert kept.diagnostics["calibration_recall"] == 1.0
    again, kept = augmenter.keep(state, [draft(1.0), draft(0.2, nan)], [])
    assert (kept.places, kept.refused) == ((0,), Counter({"score not finite": 1}))
    assert {name: array.tolist() for name, array in again.items()} == {n: a.tolist() for n, a in state.items()}


def test_without_a_right_calibration_sample_nothing_is_kept_and_all_is_counted():
    wrong = [draft(1.0, right=False)] * 8
    for labelled in (wrong, []):
        state, kept = SymbolicKd(SymbolicKdOptions()).keep({}, [draft(1.0), draft(0.9)], labelled)
        assert state == {}  # so the next round calibrates again
        assert (kept.places, kept.refused) == ((), Counter({"critic not calibrated": 2}))
        assert kept.diagnostics == {"calibration_right": 0.0}


def test_likelihoods_that_nobody_knows_are_left_out_of_the_critic():
    augmenter = SymbolicKd(SymbolicKdOptions(recall=1.0))
    unknown = [draft(each.agreement, nan, each.right) for each in calibration()]
    _, kept = augmenter.keep({}, [draft(1.0, nan), draft(0.2, -5.0)], unknown)
    assert kept.places == (0,)


def test_prompts_show_other_samples_each_and_original_ones_calibrate():
    options = SymbolicKdOptions(new=5, per_call=2, shots=3, calibration=4)
    augmenter = SymbolicKd(options)
    grown = (*SAMPLES, Sample("generated-1", "new", "1", origin=Origin("llm", 1, (), 1.0)))
    state, request = augmenter.ask({}, view(samples=grown))
    assert [prompt.count for prompt in request.prompts] == [2, 2, 1]
    assert len({prompt.sources for prompt in request.prompts}) == 3
    assert all(len(set(prompt.sources)) == 3 for prompt in request.prompts)
    assert len(request.calibration) == 4
    assert all(sample.answer is not None and sample.origin is None for sample in request.calibration)
    assert augmenter.ask({}, view(samples=grown)) == (state, request)
    later = augmenter.ask({"weights": np.zeros(3)}, view(samples=grown))[1]
    assert later.calibration == ()
