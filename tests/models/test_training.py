import math
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lada.models.batches import WINDOW, shuffled_batches
from lada.models.objective import first_divergence
from lada.models.training import Optimisation, add_gradients, learning_rate_at, make_optimizer, optimise


def test_learning_rate_by_hand():
    options = Optimisation(learning_rate=0.8, warm_up=0.2, floor=0.25)
    # 11 steps: two of warm-up; then cosine from 0.8 at step 2 over 0.8 * (0.25 + 0.75 / 2) = 0.5 half-way to 0.2 at
    # step 10.
    rates = [learning_rate_at(step, 11, options) for step in range(11)]
    assert [rates[i] for i in (0, 1, 2, 6, 10)] == pytest.approx([0.4, 0.8, 0.8, 0.5, 0.2])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert learning_rate_at(0, 1, options) == 0.8
    assert learning_rate_at(0, 10, Optimisation(learning_rate=0.8, warm_up=0.0)) == 0.8


def test_vectors_are_not_decayed_and_frozen_weights_not_touched():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    model[1].bias.requires_grad_(False)
    groups = make_optimizer(model, Optimisation(weight_decay=0.5)).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.5), (2, 0.0)]


def run(*losses: list[float], clip: float = 100.0) -> tuple[list[float], list[float]]:
    """Descend with plain SGD at rate 1 on losses that are multiples of the weight, and return weights and losses."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 10.0)
    seen, said = [], []

    def on_step(number: int, loss: float, taken: bool) -> None:
        seen.append(model.weight.item())
        said.append(loss)

    optimizer = torch.optim.SGD(model.parameters(), lr=9.9)

    def gradients(slopes: list[float]) -> float:
        return add_gradients(optimizer, [lambda slope=slope: model.weight.sum() * slope for slope in slopes])

    skipped = optimise(
        model,
        optimizer,
        ((number, partial(gradients, slopes)) for number, slopes in enumerate(losses)),
        10**6,
        options=Optimisation(learning_rate=1.0, warm_up=0.0, clip=clip),
        on_step=on_step,
    )
    assert skipped == sum(not math.isfinite(loss) for loss in said)
    return seen, said


def test_micro_batches_add_up():
    assert run([1.0, 2.0], [0.5]) == (pytest.approx([7.0, 6.5]), pytest.approx([30.0, 3.5]))


def test_clipping():
    assert run([3.0, 1.0], [0.25], clip=0.5)[0] == pytest.approx([9.5, 9.25], abs=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_changes_nothing(bad: float):
    weights, losses = run([1.0], [1.0, bad], [1.0])
    assert weights == pytest.approx([9.0, 9.0, 8.0])
    assert not math.isfinite(losses[1])


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 9), st.integers(0, 30), st.integers(0, 9))
def test_batches_use_each_index_equally_often(lengths: list[int], size: int, steps: int, seed: int):
    batches = list(shuffled_batches(lengths, size, steps, np.random.default_rng(seed)))
    assert [len(batch) for batch in batches] == [size] * steps
    uses = Counter(i for batch in batches for i in batch)
    least, rest = divmod(steps * size, len(lengths))
    assert sorted(uses[i] for i in range(len(lengths))) == [least] * (len(lengths) - rest) + [least + 1] * rest
    assert batches == list(shuffled_batches(lengths, size, steps, np.random.default_rng(seed)))


def test_rows_of_similar_length_share_a_batch():
    lengths = list(range(WINDOW * 4))
    batches = list(shuffled_batches(lengths, 4, WINDOW, np.random.default_rng(0)))
    assert all(max(batch) - min(batch) == 3 for batch in batches)
    assert [max(batch) for batch in batches] != sorted((max(batch) for batch in batches), reverse=True)


@pytest.mark.parametrize(
    ("chosen", "rejected", "position"),
    [
        ((5, 6, 7, 1), (5, 9, 7, 1), 1),
        ((5, 1), (6, 1), 0),
        ((5, 6, 1), (5, 1), 1),
        ((5, 1), (5, 6, 1), 1),
        ((5, 6, 7), (5, 6), 1),
        ((5, 6), (5, 6, 7), 2),
    ],
)
def test_first_divergence(chosen: tuple[int, ...], rejected: tuple[int, ...], position: int):
    assert first_divergence(chosen, rejected) == position


def test_a_gradient_that_is_not_finite_is_counted_though_the_loss_is():
    model = torch.nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

    def gradients(gradient: float) -> float:
        model.weight.grad = torch.full_like(model.weight, gradient)
        return 1.0

    steps = ((number, partial(gradients, gradient)) for number, gradient in enumerate([1.0, math.inf, 1.0, math.nan]))
    assert optimise(model, optimizer, steps, 4, options=Optimisation(), on_step=lambda *_: None) == 2
