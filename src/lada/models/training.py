"""The optimisation loop for studies and for building the shipped models."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from lada.core.bounds import Positive, Share
from lada.core.registry import Options

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Decay = Annotated[float, Field(ge=0, lt=1)]


class Optimisation(Options):
    """AdamW with linear warm-up, cosine decay and gradient clipping. The defaults suit the shipped tiny models."""

    learning_rate: Share = 3e-3
    """Peak learning rate, at the end of the warm-up, from 0 to 1. At 0, the weights do not change."""
    betas: tuple[Decay, Decay] = (0.9, 0.98)
    """Decay rates of AdamW's running means of gradients and squared gradients."""
    weight_decay: Share = 0.01
    """AdamW's decay of weight matrices. Norms and biases do not decay."""
    warm_up: Share = 0.03
    """Share of the steps over which the learning rate rises from zero."""
    floor: Share = 0.05
    """Learning rate at the last step, as a share of the peak."""
    clip: Positive = 1.0
    """Maximum gradient norm (Euclidean, over all weights)."""


def learning_rate_at(step: int, steps: int, options: Optimisation) -> float:
    """Return the learning rate of step 0..steps-1."""
    warm = max(1, round(options.warm_up * steps))
    if step < warm:
        return options.learning_rate * (step + 1) / warm
    progress = (step - warm) / max(1, steps - 1 - warm)
    return options.learning_rate * (options.floor + (1 - options.floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def make_optimizer(model: Any, options: Optimisation) -> torch.optim.AdamW:
    """Return AdamW over the trainable weights. Vectors (norms, biases) do not decay."""
    import torch  # here, since reading options does not need it

    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, fused=True)


def add_gradients(optimizer: torch.optim.Optimizer, micro_batches: Iterable[Callable[[], Tensor]]) -> float:
    """Store the gradients of a step's summed losses in the weights and return the sum of the losses.

    All earlier gradients are dropped. Losses are summed since they are parts of one mean; see `Scored`.
    """
    optimizer.zero_grad(set_to_none=True)
    loss = 0.0
    for micro_batch in micro_batches:
        part = micro_batch()
        part.backward()
        loss += float(part.detach())
    return loss


Steer = Callable[["Mapping[str, Tensor]"], "Mapping[str, Tensor]"]
"""Maps the gradients of a step, by weight name, to those that are clipped and applied."""


def steered(model: Any, steer: Steer | None) -> None:
    """Replace a step's gradients by what `steer` returns, if there is a `steer`."""
    if steer is not None:
        had = {name: weight for name, weight in model.named_parameters() if weight.grad is not None}
        found = steer({name: weight.grad for name, weight in had.items()})
        for name, weight in had.items():
            weight.grad = found[name]


def optimise(
    model: Any,
    optimizer: torch.optim.Optimizer,
    steps: Iterable[tuple[int, Callable[[], float]]],
    total: int,
    *,
    options: Optimisation,
    on_step: Callable[[int, float, bool], None],
) -> int:
    """Run optimiser steps. Each is its number and a function that sets the weights' gradients and returns the loss.

    `on_step(number, loss, taken)` follows each step. A step with a non-finite loss or gradient is skipped, so that one
    bad batch cannot ruin a model. Returns the number of skipped steps.
    """
    import torch

    skipped = 0
    for number, gradients in steps:
        rate = learning_rate_at(number, total, options)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = gradients()
        norm = torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], options.clip)
        taken = math.isfinite(loss) and bool(torch.isfinite(norm))
        if taken:
            optimizer.step()
        else:
            skipped += 1
        on_step(number, loss, taken)
    optimizer.zero_grad(set_to_none=True)  # gradients are as large as the trained weights, and answering follows
    return skipped
