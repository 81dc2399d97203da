"""DistiLLM-2 against numbers worked out by hand, on positions of two tokens and their tail."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.core.needs import SignalSpec
from lada.models.objective import Scored, Soft
from lada.objectives.distillm2 import Distillm2, Distillm2Options, asks, skewed_kl

P, Q = (0.5, 0.3, 0.2), (0.2, 0.2, 0.6)


def kl(p: Any, q: Any) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def mixed(p: Any, q: Any, skew: float) -> list[float]:
    return [skew * a + (1 - skew) * b for a, b in zip(p, q, strict=True)]


def logs(values: Any) -> torch.Tensor:
    return torch.tensor([values]).log()


@pytest.mark.parametrize("skew", [0.0, 0.1, 0.9])
def test_the_skewed_divergence_by_hand(skew: float):
    assert skewed_kl(logs(P), logs(Q), skew).item() == pytest.approx(kl(P, mixed(P, Q, skew)), abs=1e-6)


@given(st.floats(0, 0.99), st.lists(st.floats(0.01, 1), min_size=6, max_size=6))
@settings(max_examples=30, deadline=None)
def test_it_is_between_nothing_and_the_plain_one(skew: float, weights: list[float]):
    p, q = (torch.tensor([part]).double() for part in (weights[:3], weights[3:]))
    p, q = (p / p.sum()).log(), (q / q.sum()).log()
    found, plain = skewed_kl(p, q, skew).item(), skewed_kl(p, q, 0.0).item()
    assert -1e-9 <= found <= plain + 1e-9
    assert found <= (1 - skew) * plain + 1e-9  # KL is convex in its second side


def batch(own: tuple[bool, ...], soft: tuple[int, ...]) -> Scored:
    """Lessons of one token, of NLL 1, 2, … and weights 1, 2, …; those in `soft` have a soft target."""
    size, rows = len(own), torch.tensor(soft)
    targets = Soft(logs(Q[:2]).expand(len(soft), 2), logs(P[:2]).expand(len(soft), 2), rows,
                   torch.tensor([[0, 1]]).expand(len(soft), 2), columns=torch.zeros_like(rows))  # fmt: skip
    log_probs, weights = -torch.arange(1.0, size + 1)[:, None], torch.arange(1.0, size + 1)
    mask = torch.ones(size, 1, dtype=torch.bool)
    return Scored(log_probs, mask, weights, None, 2.0, 0.0, targets if soft else None, own=torch.tensor(own))


def test_the_loss_by_hand():
    # Lesson 0 is replayed, 1 is the teacher's (weight 2, NLL 2), 2 is the student's own (weight 3).
    objective = Distillm2(Distillm2Options(skew=0.1, balance=0.25, label_weight=0.2))
    skl, srkl = kl(P, mixed(P, Q, 0.1)), kl(Q, mixed(Q, P, 0.1))
    taught = 1 * 1 + 2 * (0.2 * 2 + 0.8 * 0.75 * skl)
    expected = (taught + 0.8 * 0.25 * 3 * srkl) / 2
    assert objective(batch((False, False, True), (1, 2))).item() == pytest.approx(expected, abs=1e-6)


def test_texts_without_soft_targets_are_labels_and_own_ones_nothing():
    assert Distillm2(Distillm2Options())(batch((False, True), ())).item() == pytest.approx(1 / 2)


def test_it_asks_for_scores_of_both_sides_texts():
    needs = asks(Distillm2Options(k=8))
    assert needs.signal == SignalSpec(8, "offsets", texts=("teacher", "student"))
    assert needs.signal_on("teacher") == needs.signal_on("student") == needs.signal


@pytest.mark.parametrize("options", [{"k": 1}, {"skew": 1.0}, {"balance": -0.1}])
def test_impossible_options_are_refused(options: dict[str, Any]):
    with pytest.raises(ValidationError):
        Distillm2Options(**options)
