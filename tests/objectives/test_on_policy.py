"""On-policy distillation against numbers worked out by hand, on one position of three tokens."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from lada.core.needs import SignalSpec
from lada.core.terms import Path, Sample
from lada.models.objective import Chunks, Scored, Soft
from lada.objectives.divergences import generalised_jsd
from lada.objectives.on_policy import OnPolicy, OnPolicyOptions, asks, k1, k3
from lada.objectives.top_k import sides

LOGITS = torch.tensor([1.0, 0.0, -1.0])
PI = LOGITS.log_softmax(0)
NU = torch.tensor([2.0, 0.0, -1.0]).log_softmax(0)
REVERSE_KL = 0.096999
REWARDS = (0.237760, -0.762240, -0.762240)


def tokens(student: Tensor, old: Tensor = PI) -> Chunks:
    """Return each of the three tokens as a chunk of one token."""
    return Chunks(student, NU, torch.arange(3), old)


def batch(own: tuple[bool, ...], **told: Any) -> Scored:
    """Lessons of one token each, with weights 1, 2, … and log-probs -1, -2, …"""
    size = len(own)
    log_probs = -torch.arange(1.0, size + 1)[:, None]
    weights = torch.arange(1.0, size + 1)
    mask = torch.ones(size, 1, dtype=torch.bool)
    return Scored(log_probs, mask, weights, None, float(size), 0.0, own=torch.tensor(own), **told)


@pytest.mark.parametrize(
    ("beta", "expected"), [(0, 0.081555), (0.1, 0.007433), (0.5, 0.021907), (0.9, 0.008526), (1, REVERSE_KL)]
)
def test_the_generalised_jsd_by_hand(beta: float, expected: float):
    assert generalised_jsd(NU[None], PI[None], beta).item() == pytest.approx(expected, abs=1e-6)


def test_the_rewards_of_k1_and_their_mean_by_hand():
    rewards = -k1(tokens(PI), None)
    assert rewards.tolist() == pytest.approx(REWARDS, abs=1e-6)
    assert (PI.exp() * rewards).sum().item() == pytest.approx(-REVERSE_KL, abs=1e-6)


@pytest.mark.parametrize("clip", [None, 0.2])
def test_the_expected_gradient_of_k1_is_that_of_the_reverse_kl(clip: float | None):
    logits = LOGITS.clone().requires_grad_()
    (PI.exp() * k1(tokens(logits.log_softmax(0)), clip)).sum().backward()
    exact = LOGITS.clone().requires_grad_()
    student = exact.log_softmax(0)
    (student.exp() * (student - NU)).sum().backward()
    assert logits.grad is not None
    assert exact.grad is not None
    assert logits.grad.tolist() == pytest.approx((-0.222695, 0.162803, 0.059892), abs=1e-6)
    assert torch.allclose(logits.grad, exact.grad, atol=1e-6)


def test_k3_by_hand_and_its_mean():
    each = k3(tokens(PI))
    assert each.tolist() == pytest.approx((0.030645, 0.228860, 0.228860), abs=1e-6)
    assert (PI.exp() * each).sum().item() == pytest.approx(REVERSE_KL, abs=1e-6)


def test_k3_stays_within_bounds():
    chunks = Chunks(torch.tensor([-30.0, -9.0, -9.0]), torch.tensor([-12.0, -1.0, -9.0]), torch.arange(3))
    assert k3(chunks).tolist() == [0.0, 10.0, 0.0]  # both at -10; e^8 - 9 is above 10; equal


def test_the_clipped_ratio_by_hand():
    # ρ = 2, 1/2, 2, 1/2 with rewards 1, 1, -1, -1: at ε = .2, the first counts 1.2 and the last -.8.
    old = torch.full((4,), math.log(0.2))
    student = torch.tensor([math.log(0.4), math.log(0.1)] * 2).requires_grad_()
    teacher = old + torch.tensor([1.0, 1.0, -1.0, -1.0])
    each = k1(Chunks(student, teacher, torch.arange(4), old), 0.2)
    assert each.tolist() == pytest.approx([-1.2, -0.5, 2.0, 0.8])
    each.sum().backward()
    assert student.grad is not None
    assert student.grad.tolist() == pytest.approx([0.0, -0.5, 2.0, 0.0])


def test_an_advantage_is_at_most_ten_nats():
    old = torch.tensor([-30.0, -1.0, -11.0])
    chunks = Chunks(old, torch.tensor([-1.0, -4095.0, -1.5]), torch.arange(3), old)
    assert k1(chunks, None).tolist() == [-10.0, 10.0, -9.5]


def test_the_gradient_of_k1_does_not_go_through_the_reward():
    student = PI.clone().requires_grad_()
    k1(tokens(student), None).sum().backward()
    assert student.grad is not None
    assert student.grad.tolist() == pytest.approx([-reward for reward in REWARDS], abs=1e-6)


def test_the_top_token_and_the_tail_give_the_reverse_kl_here():
    # The other two tokens keep their ratio, so that nothing is lost by taking them as one.
    told = Soft(PI[None, :1], NU[None, :1], torch.zeros(1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long),
                columns=torch.zeros(1, dtype=torch.long))  # fmt: skip
    teacher, student = sides(told)
    assert generalised_jsd(teacher, student, 1.0).item() == pytest.approx(REVERSE_KL, abs=1e-6)


def test_only_other_texts_have_labels_and_weights_count():
    # Rows 0 and 2 are the student's own; row 1, of weight 2 and NLL 2, is a text of the teacher.
    chunks = Chunks(PI[:2], NU[:2], torch.tensor([0, 2]), PI[:2])
    objective = OnPolicy(OnPolicyOptions(label_weight=0.25))
    judged = -(1 * REWARDS[0] + 3 * REWARDS[1]) / 3
    found = objective(batch((True, False, True), chunks=chunks)).item()
    assert found == pytest.approx(0.25 * 4 / 3 + 0.75 * judged, abs=1e-6)


def test_texts_alone_are_the_weighted_labels():
    assert OnPolicy(OnPolicyOptions(label_weight=0.25))(batch((False, False))).item() == pytest.approx(0.25 * 5 / 2)


def test_jsd_by_hand_with_labels():
    place = torch.zeros(1, dtype=torch.long)
    soft = Soft(PI[None, :2], NU[None, :2], place, torch.tensor([[0, 1]]), columns=place)
    objective = OnPolicy(OnPolicyOptions(estimator="jsd", beta=0.1, label_weight=0.5))
    found = objective(batch((True, False), soft=soft)).item()
    assert found == pytest.approx(0.5 * 4 / 2 + 0.5 * 0.007433 / 2, abs=1e-6)


def test_what_it_asks_for():
    told = SignalSpec(1, "offsets", as_chunks=True, texts=("student",))
    assert [asks(OnPolicyOptions(estimator=name)).signal for name in ("k1", "k3")] == [told, told]
    assert asks(OnPolicyOptions(estimator="jsd", k=8)).signal == SignalSpec(8, "offsets", texts=("student",))
    assert [asks(OnPolicyOptions(estimator=name)).old for name in ("k1", "k3", "jsd")] == [True, False, False]
    assert asks(OnPolicyOptions()).signal_on("teacher") is None


def test_without_labels_the_teachers_texts_are_no_lessons():
    path: Any = Path("s", "llm", "so 2", "2", True, None)  # type: ignore[arg-type]
    for weight in (0.0, 0.5):
        lesson = OnPolicy(OnPolicyOptions(label_weight=weight)).lesson(Sample("s", "1 + 1"), path, path)
        assert (lesson is not None) == (weight > 0)


@pytest.mark.parametrize("estimator", ["k1", "k3", "jsd"])
def test_the_students_likeliest_tokens_are_refused_with_the_reason(estimator: Any):
    with pytest.raises(ValidationError, match=r"a teacher of another party does not know .* Expected 'teacher', or"):
        OnPolicyOptions(estimator=estimator, top="student")
    assert OnPolicyOptions(estimator=estimator, top="teacher") == OnPolicyOptions(estimator=estimator)


@pytest.mark.parametrize("options", [{"estimator": "jsd", "k": 1}, {"clip": 0.0}, {"beta": 1.5}, {"estimator": "k2"}])
def test_impossible_options_are_refused(options: dict[str, Any]):
    with pytest.raises(ValidationError):
        OnPolicyOptions(**options)
