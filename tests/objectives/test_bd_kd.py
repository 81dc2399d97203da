"""BD-KD of both sides by numbers worked out by hand and by a slow reference."""

from typing import Any

import pytest
import torch
from from_logits import F_STUDENT, F_TEACHER, coarse, random_logits, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.objectives.bd_kd import BdKd, BdKdOptions
from lada.objectives.divergences import cross_entropy, forward_kl, reverse_kl

Rows = st.lists(st.lists(st.floats(-20, 20), min_size=4, max_size=4), min_size=1, max_size=3)


def bd_kd(**options: Any) -> Any:
    return BdKd(BdKdOptions(**{"label_weight": 0.0, **options}))


def test_fixture_f():
    assert bd_kd()(scored(F_STUDENT, F_TEACHER)).item() == pytest.approx(0.37255197738068424, abs=1e-5)
    assert bd_kd(delta=1.0)(scored(F_STUDENT, F_TEACHER)).item() == pytest.approx(
        0.08155467936943421 + 0.09699909933708334, abs=1e-5
    )
    # The teacher of the fixture learns: its own distribution is p_T, and that of the student p_S is what it is sent.
    teachers = bd_kd(role="teacher")(scored(F_TEACHER, F_STUDENT))
    assert teachers.item() == pytest.approx(0.08155467936943421, abs=1e-5)


def test_the_parts_of_fixture_f():
    student, teacher = F_STUDENT[0].log_softmax(1), F_TEACHER[0].log_softmax(1)
    assert student.exp()[0].tolist() == pytest.approx([0.665241, 0.244728, 0.090031], abs=1e-5)
    assert teacher.exp()[0].tolist() == pytest.approx([0.843795, 0.114195, 0.04201], abs=1e-5)
    assert forward_kl(teacher, student).item() == pytest.approx(0.08155467936943421, abs=1e-5)
    assert reverse_kl(teacher, student).item() == pytest.approx(0.09699909933708334, abs=1e-5)
    assert cross_entropy(student, student).item() == pytest.approx(0.8323955818399389, abs=1e-5)
    assert cross_entropy(teacher, teacher).item() == pytest.approx(0.5242666167276728, abs=1e-5)


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_with_a_tail_loss_and_gradient_are_those_of_a_slow_reference(role: Any, temperature: float):
    own, other = random_logits(1, 2, 3, 7), random_logits(2, 2, 3, 7).detach()
    other[0] *= torch.tensor([0.1, 1.0, 4.0])[:, None]  # from unsure to certain
    batch = scored(own, other, k=3, lengths=[3, 1], weights=[1.0, 3.0])
    loss = bd_kd(role=role, temperature=temperature, label_weight=0.4)(batch)
    assert batch.soft is not None
    total, sides = torch.zeros((), dtype=torch.float64), set()
    for row, column, ids in zip(batch.soft.rows, batch.soft.columns, batch.soft.ids, strict=True):
        q, p = (coarse(side[row, column].log_softmax(0), ids) ** (1 / temperature) for side in (own, other))
        q, p = q / q.sum(), p / p.sum()
        unsure = bool((p * p.log()).sum() > (q * q.log()).sum())
        sides.add(unsure)
        forward, reverse = (p * (p / q).log()).sum(), (q * (q / p).log()).sum()
        student = forward + 3 * reverse if unsure else 3 * forward + reverse
        each = temperature**2 * (student if role == "student" else reverse)
        label = -own[row, column].log_softmax(0)[0]
        total = total + (0.4 * label + 0.6 * each) * (1.0, 3.0)[int(row)]
    expected = total / (3 + 3 * 1)
    assert sides == {True, False}  # both directions have been the heavier one
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    found, slow = (torch.autograd.grad(each, own)[0] for each in (loss, expected))
    assert torch.allclose(found, slow, atol=1e-9)


@given(Rows, st.integers(0, 3), st.sampled_from(["student", "teacher"]), st.permutations(range(4)))
@settings(max_examples=30, deadline=None)
def test_it_is_no_less_than_0_and_0_at_equality_whatever_the_order_of_tokens(
    rows: list[list[float]], other: int, role: Any, order: list[int]
):
    own = torch.tensor([rows], dtype=torch.float64)
    theirs = own.roll(other, 2)
    loss = bd_kd(role=role)(scored(own, theirs)).item()
    assert loss >= -1e-9
    assert bd_kd(role=role)(scored(own + 3.0, own)).item() == pytest.approx(0, abs=1e-9)
    assert bd_kd(role=role)(scored(own[..., order], theirs[..., order])).item() == pytest.approx(
        loss, rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"delta": 0.5}, "delta"),
        ({"role": "teacher", "delta": 2.0}, "delta is 2.0, but role teacher does not use it; expected delta 3"),
        ({"label_weight": 1.5}, "label_weight is 1.5; expected 0 to 1"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"role": "both"}, "role"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        bd_kd(**options)
