"""PLD by numbers worked out by hand and by a slow reference that picks token after token."""

from typing import Any

import pytest
import torch
from from_logits import F_STUDENT, F_TEACHER, random_logits, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.objectives.pld import Pld, PldOptions, ranking_loss


def pld(**options: Any) -> Any:
    return Pld(PldOptions(**options))


@pytest.mark.parametrize(("gold", "expected"), [(0, 0.379709), (2, 0.365472)])
def test_fixture_f(gold: int, expected: float):
    assert pld()(scored(F_STUDENT, F_TEACHER, gold)).item() == pytest.approx(expected, abs=1e-5)
    assert pld()(scored(F_STUDENT + 5, F_TEACHER, gold)).item() == pytest.approx(expected, abs=1e-5)


def test_with_a_teacher_that_is_certain_it_is_the_negative_log_likelihood():
    certain = torch.tensor([[[60.0, 0.0, 0.0]]])
    assert pld()(scored(F_STUDENT, certain)).item() == pytest.approx(0.407606, abs=1e-5)


def test_the_last_pick_costs_nothing():
    teacher, student = (torch.tensor([[0.25, 0.25, 0.25, 0.25]]).log() for _ in range(2))
    # Uniform picks cost log 4, log 3 and log 2, then nothing, each with weight 1/4.
    expected = (torch.tensor([4.0, 3.0, 2.0]).log().sum() / 4).item()
    assert ranking_loss(teacher, student, torch.tensor([1]), 1.0).item() == pytest.approx(expected, abs=1e-6)


def slow(student: torch.Tensor, teacher: torch.Tensor, ids: list[int], gold: int, temperature: float) -> torch.Tensor:
    """Return the loss of one position: a list of picks, of which each names its tokens."""
    rest = [token for token in range(len(student)) if token not in ids]
    named = sorted(ids, key=lambda token: -float(teacher[token]))
    bags = [[token] for token in named] + ([rest] if rest else [])
    first = next(bag for bag in bags if gold in bag)
    ranking = [first, *(bag for bag in bags if bag is not first)]
    p = teacher.softmax(0)
    masses = torch.stack([p[bag].sum() ** (1 / temperature) for bag in ranking])
    loss = torch.zeros((), dtype=torch.float64)
    for pick, mass in enumerate(masses / masses.sum()):
        left = torch.cat([student[bag] for bag in ranking[pick:]])
        loss = loss + mass * (left.logsumexp(0) - student[ranking[pick]].logsumexp(0))
    return loss


@pytest.mark.parametrize("k", [2, 7])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_loss_and_gradient_are_those_of_a_slow_reference(k: int, temperature: float):
    student, teacher = random_logits(1, 2, 3, 7), random_logits(2, 2, 3, 7).detach()
    gold = torch.tensor([[0, 1, 2], [3, 4, 5]])
    batch = scored(student, teacher, gold, k=k, lengths=[3, 2], weights=[1.0, 2.0])
    loss = pld(temperature=temperature)(batch)
    assert batch.soft is not None
    total, named = torch.zeros((), dtype=torch.float64), set()
    for row, column, ids in zip(batch.soft.rows, batch.soft.columns, batch.soft.ids.tolist(), strict=True):
        own = int(gold[row, column])
        named.add(own in ids)
        total = total + slow(student[row, column], teacher[row, column], ids, own, temperature) * (1.0, 2.0)[int(row)]
    expected = total / (3 + 2 * 2)
    assert named == ({True, False} if k == 2 else {True})
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    found, slowly = (torch.autograd.grad(each, student)[0] for each in (loss, expected))
    assert torch.allclose(found, slowly, atol=1e-9)


Logits = st.lists(st.floats(-20, 20), min_size=5, max_size=5)


@given(Logits, Logits, st.permutations(range(5)), st.integers(0, 4), st.floats(-50, 50))
@settings(max_examples=30, deadline=None)
def test_it_is_no_less_than_0_whatever_the_order_of_tokens_or_a_constant(
    ours: list[float], theirs: list[float], order: list[int], gold: int, constant: float
):
    student = torch.tensor([[ours]], dtype=torch.float64)
    teacher = torch.tensor([[theirs]], dtype=torch.float64) + torch.arange(5) * 1e-4  # no two logits are equal
    if len({float(logit) for logit in teacher[0, 0]}) < 5:
        return
    loss = pld()(scored(student, teacher, gold)).item()
    assert loss >= 0
    assert pld()(scored(student + constant, teacher, gold)).item() == pytest.approx(loss, rel=1e-6, abs=1e-9)
    permuted = pld()(scored(student[..., order], teacher[..., order], order.index(gold))).item()
    assert permuted == pytest.approx(loss, rel=1e-6, abs=1e-9)


@given(Logits, Logits, Logits, st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_it_is_convex(one: list[float], two: list[float], theirs: list[float], share: float):
    a, b, teacher = (torch.tensor([[each]], dtype=torch.float64) for each in (one, two, theirs))
    loss = {name: pld()(scored(each, teacher)).item() for name, each in (("a", a), ("b", b))}
    between = pld()(scored(share * a + (1 - share) * b, teacher)).item()
    assert between <= share * loss["a"] + (1 - share) * loss["b"] + 1e-9


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": 1e4}, {"k": 0}])
def test_impossible_options_are_refused(options: dict[str, Any]):
    with pytest.raises(ValidationError, match=next(iter(options))):
        pld(**options)
