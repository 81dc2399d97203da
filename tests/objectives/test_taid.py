"""TAID by numbers worked out by hand, by a slow reference, and the course of t by its recurrence."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from from_logits import F_STUDENT, F_TEACHER, coarse, random_logits, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.models.objective import Done
from lada.objectives.taid import Taid, TaidOptions


def taid(**options: Any) -> Any:
    return Taid(TaidOptions(**options))


def at(t: float) -> dict[str, np.ndarray]:
    return {**taid().init(0), "t": np.array(t)}


def done(loss: float, step: int = 0, steps: int = 10, weight: float = 1.0) -> Done:
    return Done(step, steps, step, steps, loss, {"loss": np.array(loss * weight), "weight": np.array(weight)})


@pytest.mark.parametrize(("t", "expected"), [(0.4, 0.727675), (1.0, 0.605821)])
def test_fixture_f(t: float, expected: float):
    assert taid()(scored(F_STUDENT, F_TEACHER, state=at(t))).item() == pytest.approx(expected, abs=1e-5)


def test_the_divergence_of_fixture_f():
    # The blend of (1, 0, -1) and (2, 0, -1) is (1.4, 0, -1). CE minus the blend's entropy is its KL divergence.
    target = torch.tensor([1.4, 0.0, -1.0]).softmax(0)
    loss = taid()(scored(F_STUDENT, F_TEACHER, state=at(0.4))).item()
    assert loss + float((target * target.log()).sum()) == pytest.approx(0.016049, abs=1e-5)


def test_at_0_the_gradient_is_zero_and_at_1_it_is_that_of_plain_distillation():
    student, teacher = random_logits(1, 2, 3, 5), random_logits(2, 2, 3, 5).detach()
    (gradient,) = torch.autograd.grad(taid()(scored(student, teacher, state=at(0.0))), student)
    assert gradient.abs().max().item() < 1e-9
    (gradient,) = torch.autograd.grad(taid()(scored(student, teacher, state=at(1.0))), student)
    assert torch.allclose(gradient, (student.softmax(-1) - teacher.softmax(-1)).detach() / 6)


def test_with_a_tail_loss_and_gradient_are_those_of_a_slow_reference():
    student, teacher = random_logits(3, 2, 3, 7), random_logits(4, 2, 3, 7).detach()
    batch = scored(student, teacher, k=3, lengths=[3, 2], weights=[1.0, 2.0], state=at(0.3))
    loss = taid(label_weight=0.25)(batch)
    assert batch.soft is not None
    total = torch.zeros((), dtype=torch.float64)
    for row, column, ids in zip(batch.soft.rows, batch.soft.columns, batch.soft.ids, strict=True):
        q, p = (coarse(side[row, column].log_softmax(0), ids) for side in (student, teacher))
        blended = q.detach() ** 0.7 * p**0.3
        ce = -(blended / blended.sum() * q.log()).sum()
        label = -student[row, column].log_softmax(0)[0]
        total = total + (0.25 * label + 0.75 * ce) * (1.0, 2.0)[int(row)]
    expected = total / (3 + 2 * 2)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    found, slow = (torch.autograd.grad(each, student)[0] for each in (loss, expected))
    assert torch.allclose(found, slow, atol=1e-9)


def test_the_course_of_t_by_hand():
    objective = taid(start=0.4, end=1.0, step_size=0.5, momentum=0.5)
    state = objective.after_step(objective.init(0), done(2.0))
    assert {name: float(value) for name, value in state.items()} == {"t": 0.4, "m": 0.0, "loss": 2.0}
    state = objective.after_step(state, done(1.0, 1))
    # The loss fell by half: m = 0.5 * 0.5. The line is at 0.4 + 0.6 * 2 / 10 = 0.52.
    ahead = 0.4 + 0.5 / (1 + math.exp(-0.25)) * 0.6
    assert ahead > 0.52
    assert {name: float(value) for name, value in state.items()} == pytest.approx({"t": ahead, "m": 0.25, "loss": 1.0})
    state = objective.after_step(state, done(3.0, 8))
    # It rose to three times: m = 0.5 * 0.25 - 0.5 * 2. The line, at 0.4 + 0.6 * 9 / 10, is further.
    assert {name: float(value) for name, value in state.items()} == pytest.approx({"t": 0.94, "m": -0.875, "loss": 3.0})


def test_the_loss_of_a_step_is_the_mean_over_its_micro_batches():
    objective, seen = taid(), {}
    student, teacher = random_logits(5, 1, 4, 5).detach(), random_logits(6, 1, 4, 5).detach()
    objective(scored(student, teacher, state=at(0.4), weights=[3.0], seen=seen))
    assert seen["weight"].item() == pytest.approx(12.0)
    alone = taid()(scored(student, teacher, state=at(0.4)))
    assert seen["loss"].item() / seen["weight"].item() == pytest.approx(alone.item())


def test_a_step_without_soft_targets_changes_nothing():
    state = taid().init(0)
    assert taid().after_step(state, Done(0, 2, 0, 2, 1.0, {})) is state
    assert taid().after_step(state, done(1.0, weight=0.0)) is state


def test_without_adaptation_t_follows_the_line():
    objective = taid(start=0.2, end=0.8, adaptive=False)
    state, course = objective.init(0), []
    for step in range(4):
        state = objective.after_step(state, done(4.0 - step, step, 4))
        course.append(float(state["t"]))
    assert course == pytest.approx([0.2, 0.5, 0.65, 0.8])


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=12),
    st.floats(0, 0.9),
    st.floats(0, 1),
    st.floats(0, 1),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_t_never_falls_and_arrives(
    losses: list[float], start: float, step_size: float, momentum: float, adaptive: bool
):
    objective = taid(start=start, end=0.9, step_size=step_size, momentum=momentum, adaptive=adaptive)
    state = objective.init(0)
    for step, loss in enumerate(losses):
        before = float(state["t"])
        state = objective.after_step(state, done(loss, step, len(losses)))
        assert before <= float(state["t"]) <= 0.9
    assert len(losses) == 1 or float(state["t"]) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": 0.9, "end": 0.5}, "start is 0.9 and end is 0.5; expected a start of at most end"),
        ({"momentum": 1.5}, "momentum"),
        ({"step_size": -0.1}, "step_size"),
        ({"label_weight": 2.0}, "label_weight"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        taid(**options)
