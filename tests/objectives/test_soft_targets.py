"""Soft targets against numbers worked out by hand, and against the dense formulas of whole vocabularies."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.models.objective import Scored, Soft
from lada.objectives.divergences import UNUSED, categories, cross_entropy, forward_kl, jsd, reverse_kl, tempered
from lada.objectives.soft_targets import FORMS, SoftTargets, SoftTargetsOptions

LN2, LN4 = math.log(2), math.log(4)


def log(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).log()


def scored(student: torch.Tensor, teacher: torch.Tensor, **more: Any) -> Scored:
    """Two lessons of one token each, NLL 1 and 3 nats; soft targets as given, by default all of the first."""
    rows = more.pop("rows", [0] * len(student))
    weights = torch.tensor(more.pop("weights", [1.0, 1.0]))
    ids, columns = torch.zeros_like(teacher, dtype=torch.long), torch.zeros(len(rows), dtype=torch.long)
    soft = Soft(student, teacher, torch.tensor(rows), ids, columns=columns)
    return Scored(torch.tensor([[-1.0], [-3.0]]), torch.ones(2, 1, dtype=torch.bool), weights, None, 2.0, 0.0, soft)


def test_the_tail_is_what_is_left():
    p, q = categories(log([0.5, 0.25]), log([0.125, 0.375]), torch.tensor([[True, True]]))
    assert p.exp()[0].tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert q.exp()[0].tolist() == pytest.approx([0.125, 0.375, 0.5])
    p, q = categories(log([0.5, 0.25]), log([0.125, 0.375]), torch.tensor([[True, False]]))
    assert p[0].tolist() == pytest.approx([math.log(0.5), UNUSED, math.log(0.5)])
    assert q[0].tolist() == pytest.approx([math.log(0.125), UNUSED, math.log(0.875)])


def test_a_tail_of_nothing_counts_where_the_other_side_has_one():
    everything, half = log([0.5, 0.5]), log([0.25, 0.25])
    p, q = categories(everything, half, torch.tensor([[True, True]]))
    assert p[0, 2].item() == pytest.approx(-15.9424, abs=1e-3)  # what float32 can just tell from nothing
    assert q[0, 2].item() == pytest.approx(math.log(0.5))
    assert categories(everything, everything, torch.tensor([[True, True]]))[0][0, 2].item() == UNUSED


def test_temperature_flattens_over_the_categories():
    # Square roots of 1/2, 1/4, 1/4 are in the proportion of √2 : 1 : 1.
    found = tempered(log([0.5, 0.25, 0.25]), 2.0).exp()[0].tolist()
    assert found == pytest.approx([math.sqrt(2) / (2 + math.sqrt(2)), *[1 / (2 + math.sqrt(2))] * 2])


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        # p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4)
        (cross_entropy, 0.5 * LN4 + 0.25 * LN2 + 0.25 * LN4),
        (forward_kl, 0.5 * LN2 - 0.25 * LN2),
        (reverse_kl, -0.25 * LN2 + 0.5 * LN2),
        # m = (3/8, 3/8, 1/4): each half is 1/2 ln(4/3) + 1/4 ln(2/3)
        (jsd, 0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3)),
    ],
)
def test_by_hand(form: Any, expected: float):
    assert form(log([0.5, 0.25, 0.25]), log([0.25, 0.5, 0.25])).tolist() == pytest.approx([expected], abs=1e-6)


def test_the_loss_by_hand():
    # Mean NLL 2 nats; one soft position of KL 1/4 ln 2 over two tokens.
    objective = SoftTargets(SoftTargetsOptions(form="forward_kl", label_weight=0.6))
    loss = objective(scored(log([0.25, 0.5]), log([0.5, 0.25])))
    assert loss.item() == pytest.approx(0.6 * 2 + 0.4 * 0.25 * LN2 / 2, abs=1e-6)
    weighted = objective(scored(log([0.25, 0.5]), log([0.5, 0.25]), weights=[3.0, 1.0]))
    assert weighted.item() == pytest.approx(0.6 * 3 + 0.4 * 3 * 0.25 * LN2 / 2, abs=1e-6)


def test_the_factor_of_the_temperature():
    options = {"form": "forward_kl", "label_weight": 0.0}
    loss = SoftTargets(SoftTargetsOptions(temperature=2.0, **options))(scored(log([0.25, 0.5]), log([0.5, 0.25])))
    p = torch.tensor([[math.sqrt(2), 1.0, 1.0]]) / (2 + math.sqrt(2))
    q = torch.tensor([[1.0, math.sqrt(2), 1.0]]) / (2 + math.sqrt(2))
    assert loss.item() == pytest.approx(4 * (p * (p / q).log()).sum().item() / 2, abs=1e-6)


def test_without_soft_targets_it_is_the_labels_part():
    table = scored(log([0.5]), log([0.5]))
    bare = Scored(table.log_probs, table.mask, table.weights, None, 2.0, 0.0)
    assert SoftTargets(SoftTargetsOptions(label_weight=0.75))(bare).item() == pytest.approx(0.75 * 2)


def textbook(form: str, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Return the terms of a divergence of probabilities."""
    m = (p + q) / 2
    return {
        "ce": -(p * q.log()),
        "forward_kl": p * (p / q).log(),
        "reverse_kl": q * (q / p).log(),
        "jsd": (p * (p / m).log() + q * (q / m).log()) / 2,
    }[form]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_with_every_token_named_the_gradient_is_that_of_the_dense_formula(form: str, temperature: float):
    torch.manual_seed(0)
    logits, other = torch.randn(6, 9, requires_grad=True), 2 * torch.randn(6, 9)
    options = SoftTargetsOptions(form=form, label_weight=0.0, temperature=temperature, k=9)  # pyright: ignore
    loss = SoftTargets(options)(scored(logits.log_softmax(1), other.log_softmax(1), rows=[0] * 6))
    (found,) = torch.autograd.grad(loss, logits)

    p, q = (other / temperature).softmax(1), (logits / temperature).softmax(1)
    dense = textbook(form, p, q)
    (expected,) = torch.autograd.grad(temperature**2 * dense.sum() / 2, logits)
    assert torch.allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_with_a_tail_the_gradient_is_that_of_the_coarse_formula(form: str):
    torch.manual_seed(1)
    logits, other = torch.randn(5, 40, requires_grad=True), torch.randn(5, 40)
    ids = torch.rand(5, 40).topk(7, dim=1).indices
    student, teacher = (side.log_softmax(1).gather(1, ids) for side in (logits, other))
    options = SoftTargetsOptions(form=form, label_weight=0.0)  # pyright: ignore
    (found,) = torch.autograd.grad(SoftTargets(options)(scored(student, teacher)), logits)

    # Dense: each row's vocabulary is summed by hand into 7 named categories and one for all the rest.
    rest = torch.ones(5, 40, dtype=torch.bool).scatter(1, ids, False)
    q = torch.cat([logits.softmax(1).gather(1, ids), (logits.softmax(1) * rest).sum(1, keepdim=True)], 1)
    p = torch.cat([other.softmax(1).gather(1, ids), (other.softmax(1) * rest).sum(1, keepdim=True)], 1)
    dense = textbook(form, p, q)
    (expected,) = torch.autograd.grad(dense.sum() / 2, logits)
    assert torch.allclose(found, expected, atol=1e-6)


@given(
    st.lists(st.floats(-30, 30), min_size=4, max_size=4),
    st.lists(st.floats(-30, 30), min_size=4, max_size=4),
    st.lists(st.booleans(), min_size=3, max_size=3).filter(any),
    st.sampled_from(sorted(FORMS)),
    st.floats(0.25, 50),
)
@settings(max_examples=30, deadline=None)
def test_any_rows_give_finite_losses_and_gradients(
    ours: list[float], theirs: list[float], used: list[bool], form: Any, temperature: float
):
    logits = torch.tensor([ours], requires_grad=True)
    student = logits.log_softmax(1)[:, :3]
    teacher = torch.tensor([theirs]).log_softmax(1)[:, :3].masked_fill(~torch.tensor([used]), -torch.inf)
    options = SoftTargetsOptions(form=form, label_weight=0.0, temperature=temperature)
    loss = SoftTargets(options)(scored(student, teacher))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert math.isfinite(loss.item())
    assert bool(torch.isfinite(gradient).all())
    if form != "ce":
        assert loss.item() >= -1e-4
        same = SoftTargets(options)(scored(teacher.masked_fill(~torch.tensor([used]), -9.0), teacher))
        assert same.item() == pytest.approx(0.0, abs=1e-3)


def test_the_jensen_shannon_divergence_is_symmetric_and_bounded():
    a, b = tempered(torch.randn(20, 5) * 9, 1.0), tempered(torch.randn(20, 5) * 9, 1.0)
    assert torch.allclose(jsd(a, b), jsd(b, a), atol=1e-6)
    assert jsd(a, b).max().item() <= LN2 + 1e-6
    assert jsd(log([1 - 1e-7, 1e-7]), log([1e-7, 1 - 1e-7])).item() == pytest.approx(LN2, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"label_weight": 1.5}, "label_weight is 1.5; expected 0 to 1"),
        ({"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"k": 0}, "k is 0; expected 1 to 65536 tokens"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], told: str):
    with pytest.raises(ValidationError, match=told):
        SoftTargetsOptions(**options)
