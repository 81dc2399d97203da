"""The server optimiser, against numbers worked out by hand and a slow reference."""

from typing import Any

import numpy as np
import pytest
import torch

from lada.aggregators.base import Update
from lada.aggregators.fedopt import FedOpt, FedOptOptions


def fedopt(**options: object) -> Any:
    return FedOpt(FedOptOptions.model_validate({"malicious": 0, "clip": None, **options}))


def updates(*changes: list[float], start: list[float] | None) -> dict[str, Update]:
    known = None if start is None else {"w": np.array(start, np.float32)}
    base = np.zeros(len(changes[0])) if start is None else np.array(start)
    return {
        f"c{number}": Update({"w": (base + change).astype(np.float32)}, 10**number, known)
        for number, change in enumerate(np.array(changes))
    }


def test_gradient_descent_at_rate_one_is_the_plain_mean_whatever_the_claims():
    state, found = fedopt(optimiser="sgd", learning_rate=1.0).aggregate(
        {}, updates([0.0, 0.3], [0.2, 0.0], start=[0.5, -0.4])
    )
    assert state == {}
    assert found.weights["w"] == pytest.approx([0.6, -0.25], abs=1e-6)
    assert found.by_client["c0"] is found.by_client["c1"] is found.weights


def test_the_first_step_of_adamw_by_hand():
    # The moments cancel in the first step, so every number that changed moves by the learning rate, and all decay.
    _, found = fedopt(learning_rate=0.1, weight_decay=0.5).aggregate(
        {}, updates([0.0, 0.3, -0.2], start=[1.0, 1.0, 1.0])
    )
    assert found.weights["w"] == pytest.approx([0.95, 1.05, 0.85], abs=1e-6)


def test_three_steps_are_those_of_torch():
    method, state = fedopt(learning_rate=0.05, beta1=0.8, beta2=0.99, weight_decay=0.1), {}
    weights = np.array([0.5, -0.25, 0.0])
    parameter = torch.nn.Parameter(torch.tensor(weights))
    optimiser = torch.optim.AdamW([parameter], lr=0.05, betas=(0.8, 0.99), eps=1e-8, weight_decay=0.1)
    for step in range(3):
        changes = np.random.default_rng(step).normal(size=(4, 3)).round(2)
        given = updates(*changes.tolist(), start=weights.tolist())
        state, found = method.aggregate(state, given)
        changes = [each.weights["w"] - each.start["w"] for each in given.values() if each.start is not None]
        gradient = -np.mean(changes, axis=0)
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimiser.step()
        weights = found.weights["w"]
        assert weights == pytest.approx(parameter.detach().numpy(), abs=1e-5)
    assert int(state["step"]) == 3


def test_without_a_known_start_the_mean_is_the_result_and_no_moment_moves():
    state, found = fedopt().aggregate({}, updates([1.0], [3.0], start=None))
    assert (state, found.weights["w"].tolist()) == ({}, [2.0])


def test_a_hostile_client_is_clipped_as_in_the_mean():
    given = updates([1.0], [1.0], [1.0], [1000.0], start=[0.0])
    _, found = fedopt(optimiser="sgd", learning_rate=1.0, clip=2.0).aggregate({}, given)
    assert found.weights["w"] == pytest.approx([(1 + 1 + 1 + 2) / 4])
    assert "'c3'" in found.notices[0]
    _, found = fedopt(optimiser="sgd", learning_rate=1.0, malicious=1).aggregate({}, given)
    assert found.weights["w"] == pytest.approx([1.0])


@pytest.mark.parametrize(
    "wrong", [{"beta1": 1.0}, {"learning_rate": 0.0}, {"weight_decay": float("nan")}, {"optimiser": "adam"}]
)
def test_a_wrong_option_is_refused(wrong: dict[str, object]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        fedopt(**wrong)
