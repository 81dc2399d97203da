"""SinKD by numbers worked out by hand, and by Sinkhorn's algorithm on plain matrices."""

from typing import Any

import numpy as np
import pytest
import torch
from from_logits import random_logits, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.objectives.sinkd import Sinkd, SinkdOptions, points, transport

STUDENT = torch.tensor([[[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]], dtype=torch.float64)
TEACHER = torch.tensor([[[2.0, 0.0, -1.0], [0.0, 2.0, 0.0]]], dtype=torch.float64)


def sinkd(**options: Any) -> Any:
    return Sinkd(SinkdOptions(**{"label_weight": 0.0, **options}))


def test_by_hand():
    # The paper's cost is a sum over the batch, ours the mean over its two positions.
    assert 2 * sinkd()(scored(STUDENT, TEACHER)).item() == pytest.approx(0.506549, abs=1e-5)
    assert 2 * sinkd()(scored(TEACHER, TEACHER)).item() == pytest.approx(0.000401, abs=1e-5)
    assert sinkd(debiased=True)(scored(TEACHER, TEACHER)).item() == 0


def test_one_position_costs_the_distance_of_its_two_distributions():
    # Square roots of (1/2, 1/4, 1/4) and (1/4, 1/2, 1/4): temperature 2 flattens.
    p, q = ([0.5, 0.25, 0.25], [0.25, 0.5, 0.25])
    student, teacher = (torch.tensor([[each]], dtype=torch.float64).log() for each in (q, p))
    p, q = (np.sqrt(each) / np.sqrt(each).sum() for each in (p, q))
    assert sinkd()(scored(student, teacher)).item() == pytest.approx(np.abs(p - q).sum(), rel=1e-6)


def slow(student: torch.Tensor, teacher: torch.Tensor, epsilon: float, iterations: int) -> tuple[torch.Tensor, ...]:
    """Return costs and plan between rows of probabilities, by division instead of logarithms."""
    costs = torch.stack([torch.stack([(a - b).abs().sum() for b in teacher]) for a in student])
    plan = (-costs / epsilon).exp()
    for _ in range(iterations):
        plan = plan / plan.sum(1, keepdim=True)
        plan = plan / plan.sum(0, keepdim=True)
    return costs, plan


@pytest.mark.parametrize("debiased", [False, True])
def test_loss_and_gradient_are_those_of_a_slow_reference(debiased: bool):
    student, teacher = random_logits(1, 2, 3, 6), random_logits(2, 2, 3, 6).detach()
    batch = scored(student, teacher, lengths=[3, 2])
    loss = sinkd(debiased=debiased, label_weight=0.25)(batch)
    at = batch.mask.nonzero(as_tuple=True)
    q, p = ((side[at] / 2).softmax(1) for side in (student, teacher))

    def value(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        costs, plan = slow(a, b, 0.1, 20)
        return (plan * (costs + 0.1 * plan.log())).sum() if debiased else (plan * costs).sum()

    cost = value(q, p) - (value(q, q) + value(p, p)) / 2 if debiased else value(q, p)
    labels = -student.log_softmax(-1)[..., 0][at].sum()
    expected = (0.25 * labels + 0.75 * cost) / 5
    assert loss.item() == pytest.approx(expected.item(), rel=1e-8)
    found, slowly = (torch.autograd.grad(each, student)[0] for each in (loss, expected))
    assert torch.allclose(found, slowly, atol=1e-8)


def test_positions_are_compared_by_the_tokens_that_teachers_name_and_the_tail():
    logits = torch.tensor([[[4.0, 3.0, 0.0, 0.0], [0.0, 3.0, 0.0, 4.0]]], dtype=torch.float64)
    batch = scored(logits.flip(1), logits, k=2)
    assert batch.soft is not None
    teacher, student = points(batch.soft, 1.0)
    p, q = logits[0].softmax(1).tolist(), logits[0].flip(0).softmax(1).tolist()
    # Tokens 0, 1, 3 are named somewhere, 0 and 1 at the first position, 1 and 3 at the second.
    assert teacher[0].tolist() == pytest.approx([p[0][0], p[0][1], 0, p[0][2] + p[0][3]], abs=1e-6)
    assert teacher[1].tolist() == pytest.approx([0, p[1][1], p[1][3], p[1][0] + p[1][2]], abs=1e-6)
    assert student[0].tolist() == pytest.approx([q[0][0], q[0][1], 0, q[0][2] + q[0][3]], abs=1e-6)


def test_a_large_batch_is_divided_into_transports_of_neighbours_apart():
    student, teacher = random_logits(3, 1, 5, 4).detach(), random_logits(4, 1, 5, 4).detach()
    whole = scored(student, teacher)
    parts = [[0, 3], [1, 4], [2]]  # 5 positions at most 2 at once make 3 transports
    expected = sum(len(part) * sinkd()(scored(student[:, part], teacher[:, part])).item() for part in parts) / 5
    assert sinkd(positions=2)(whole).item() == pytest.approx(expected, rel=1e-9)
    # The cost of each position stays at its place: with weights by lesson, it counts for its own lesson.
    by_lesson = scored(student.transpose(0, 1), teacher.transpose(0, 1), weights=[1.0, 0.0, 0.0, 1.0, 0.0])
    first = 2 * sinkd()(scored(student[:, parts[0]], teacher[:, parts[0]])).item()
    assert sinkd(positions=2)(by_lesson).item() == pytest.approx(first / 2, rel=1e-9)


def test_small_epsilons_stay_finite():
    student = random_logits(5, 1, 6, 4, scale=30.0)
    loss = sinkd(epsilon=1e-4)(scored(student, random_logits(6, 1, 6, 4, scale=30.0).detach()))
    (gradient,) = torch.autograd.grad(loss, student)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


Points = st.lists(st.lists(st.floats(-8, 8), min_size=3, max_size=3), min_size=2, max_size=5)


@given(Points, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_cost_is_from_0_to_2_and_the_order_of_positions_does_not_matter(rows: list[list[float]], random: Any):
    student = torch.tensor([rows], dtype=torch.float64)
    teacher = student.roll(1, 2)
    order = random.sample(range(len(rows)), len(rows))
    loss = sinkd()(scored(student, teacher)).item()
    assert 0 <= loss <= 2 + 1e-9
    assert sinkd()(scored(student[:, order], teacher[:, order])).item() == pytest.approx(loss, rel=1e-6, abs=1e-9)


@given(Points, st.sampled_from([None, 2]))
@settings(max_examples=40, deadline=None)
def test_the_divergence_is_0_at_equality_and_not_below_0(rows: list[list[float]], k: int | None):
    student = torch.tensor([rows], dtype=torch.float64, requires_grad=True)
    objective = sinkd(debiased=True, iterations=1000)
    same = objective(scored(student, student.detach(), k=k))
    assert same.item() == 0
    if len(rows) < 4:  # the iterations have converged then
        assert objective(scored(student, student.detach().roll(1, 2), k=k)).item() >= -1e-4


def test_columns_of_the_plan_sum_to_1():
    q, p = (random_logits(seed, 4, 3).detach().softmax(1) for seed in (7, 8))
    constant = transport(q, p, 0.1, 20) - transport(q, p, 0.1, 20, entropic=True)
    _, plan = slow(q, p, 0.1, 20)
    assert plan.sum(0).tolist() == pytest.approx([1.0] * 4)
    assert constant.tolist() == pytest.approx((-0.1 * (plan * plan.log()).sum(0)).tolist(), abs=1e-9)


@pytest.mark.parametrize(
    "options", [{"epsilon": 0.0}, {"iterations": 0}, {"positions": 0}, {"temperature": 0.0}, {"label_weight": -0.1}]
)
def test_impossible_options_are_refused(options: dict[str, Any]):
    with pytest.raises(ValidationError, match=next(iter(options))):
        sinkd(**options)
