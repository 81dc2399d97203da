"""OFA-KD by numbers worked out by hand and by a slow reference, with exits that a random head reads."""

from typing import Any

import numpy as np
import pytest
import torch
from from_logits import F_STUDENT, F_TEACHER, coarse, random_logits, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.models.objective import Sizes
from lada.objectives.ofa_kd import OfaKd, OfaKdOptions, enhanced


def ofa_kd(**options: Any) -> Any:
    return OfaKd(OfaKdOptions(**options))


def last_only(**options: Any) -> Any:
    return ofa_kd(**{"depths": (), "label_weight": 0.0, **options})


@pytest.mark.parametrize(("epsilon", "expected"), [(1.0, 0.605821), (1.5, 0.687935)])
def test_fixture_f(epsilon: float, expected: float):
    assert last_only(epsilon=epsilon)(scored(F_STUDENT, F_TEACHER)).item() == pytest.approx(expected, abs=1e-5)


def test_enhancement_by_hand():
    # p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4), the true one is the second: targets 1/4, (5/4)² - 1 and 1/16.
    p, q = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.25, 0.5, 0.25]]).log()
    expected = 0.25 * np.log(4) + (25 / 16 - 1) * np.log(2) + np.log(4) / 16
    assert enhanced(p, q, torch.tensor([1]), 2.0).item() == pytest.approx(expected, abs=1e-6)


WIDTH, VOCABULARY = 4, 7


@pytest.mark.parametrize("k", [2, VOCABULARY])
def test_loss_and_gradients_are_those_of_a_slow_reference(k: int):
    student, teacher = random_logits(1, 2, 3, VOCABULARY), random_logits(2, 2, 3, VOCABULARY).detach()
    hidden = {depth: random_logits(10 + place, 2, 3, WIDTH) for place, depth in enumerate((0.25, 0.5))}
    head, gold = random_logits(3, WIDTH, VOCABULARY).detach(), torch.tensor([[0, 1, 2], [3, 4, 5]])
    matrices = {f"exit_{depth:g}": random_logits(20 + place, WIDTH, WIDTH) for place, depth in enumerate(hidden)}
    objective = ofa_kd(
        depths=(0.25, 0.5), epsilon=1.5, temperature=2.0, label_weight=0.5, last_weight=2.0, exit_weight=3.0
    )
    assert objective.trained == tuple(matrices)
    batch = scored(
        student,
        teacher,
        gold,
        k=k,
        lengths=[3, 2],
        weights=[1.0, 2.0],
        hidden={depth: states.double() for depth, states in hidden.items()},
        parameters={name: matrix.float() for name, matrix in matrices.items()},
        head=lambda states: states.double() @ head,
    )
    loss = objective(batch)

    def of(logits: torch.Tensor, teacher: torch.Tensor, ids: torch.Tensor, own: int) -> torch.Tensor:
        q, p = (coarse(each.log_softmax(0), ids) ** 0.5 for each in (logits, teacher))
        q, p = q / q.sum(), p / p.sum()
        true = ids.tolist().index(own) if own in ids.tolist() else len(ids)
        m = torch.nn.functional.one_hot(torch.tensor(true), len(q))
        return -(((p + m) ** 1.5 - m) * q.log()).sum()

    assert batch.soft is not None
    total = torch.zeros((), dtype=torch.float64)
    for row, column, ids in zip(batch.soft.rows, batch.soft.columns, batch.soft.ids, strict=True):
        own = int(gold[row, column])
        each = -0.5 * student[row, column].log_softmax(0)[own]
        each = each + 2 * of(student[row, column], teacher[row, column], ids, own)
        for depth, states in hidden.items():
            state = states[row, column]
            exit = state / (state.square().mean() + 1e-6).sqrt() @ matrices[f"exit_{depth:g}"] @ head
            each = each + 3 * of(exit, teacher[row, column], ids, own)
        total = total + each * (1.0, 2.0)[int(row)]
    expected = total / (3 + 2 * 2)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    leaves = [student, *hidden.values(), *matrices.values()]
    for found, slow in zip(*(torch.autograd.grad(each, leaves) for each in (loss, expected)), strict=True):
        assert found.abs().max() > 1e-3
        assert torch.allclose(found, slow, rtol=1e-4, atol=1e-5)


def test_the_matrices_begin_as_the_identity_as_wide_as_the_head_reads():
    state = ofa_kd(depths=(0.5,)).init(0, Sizes(4, 9, head=3))
    assert np.array_equal(state["exit_0.5"], np.eye(4, 3))
    assert np.array_equal(ofa_kd(depths=(0.5,)).init(0, Sizes(2, 9))["exit_0.5"], np.eye(2))


@pytest.mark.parametrize(("depths", "exits", "read_out"), [((), (), False), ((0.5,), (0.5,), True)])
def test_without_exits_no_hidden_states_are_asked_for(depths: Any, exits: Any, read_out: bool):
    needs = ofa_kd(depths=depths).needs
    assert (needs.exits, needs.read_out, needs.gold) == (exits, read_out, True)


Logits = st.lists(st.floats(-20, 20), min_size=4, max_size=4)


@given(Logits, Logits, st.integers(0, 3), st.permutations(range(4)), st.floats(1, 4))
@settings(max_examples=30, deadline=None)
def test_it_is_no_less_than_0_grows_with_the_enhancement_and_ignores_the_order_of_tokens(
    ours: list[float], theirs: list[float], gold: int, order: list[int], epsilon: float
):
    student, teacher = (torch.tensor([[each]], dtype=torch.float64) for each in (ours, theirs))
    loss = last_only(epsilon=epsilon)(scored(student, teacher, gold)).item()
    assert loss >= 0
    permuted = last_only(epsilon=epsilon)(scored(student[..., order], teacher[..., order], order.index(gold))).item()
    assert permuted == pytest.approx(loss, rel=1e-6, abs=1e-9)
    target = {each: (torch.softmax(teacher[0, 0], 0)[gold] + 1) ** each - 1 for each in (1.0, epsilon)}
    assert target[epsilon] >= target[1.0]  # the true token's share of the target


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"depths": (0.5, 0.25)}, r"depths is \[0.5, 0.25\]; expected at most 8 numbers between 0 and 1, ascending"),
        ({"depths": (1.0,)}, "depths"),
        ({"depths": (0.0,)}, "depths"),
        ({"depths": tuple(place / 10 for place in range(1, 10))}, "depths"),
        ({"epsilon": 0.5}, "epsilon"),
        ({"temperature": 0.0}, "temperature"),
        ({"exit_weight": -1.0}, "exit_weight"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        ofa_kd(**options)
