"""The optimisation loop that studying and building the shipped models share."""

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
    """AdamW with linear warm-up, cosine decay and clipping. The defaults suit the shipped tiny models."""

    learning_rate: Share = 3e-3
    """The highest learning rate, at the end of the warm-up; 0 to 1, where 0 leaves the weights alone."""
    betas: tuple[Decay, Decay] = (0.9, 0.98)
    """Decay of AdamW's running means of gradients and of their squares."""
    weight_decay: Share = 0.01
    """AdamW's decay of weight matrices; norms and biases are left alone."""
    warm_up: Share = 0.03
    """Share of the steps over which the learning rate rises from zero."""
    floor: Share = 0.05
    """The learning rate at the last step, as a share of the highest."""
    clip: Positive = 1.0
    """The longest gradient: the Euclidean norm over all weights."""


def learning_rate_at(step: int, steps: int, options: Optimisation) -> float:
    """Return the learning rate of step 0..steps-1."""
    warm = max(1, round(options.warm_up * steps))
    if step < warm:
        return options.learning_rate * (step + 1) / warm
    progress = (step - warm) / max(1, steps - 1 - warm)
    return options.learning_rate * (options.floor + (1 - options.floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def make_optimizer(model: Any, options: Optimisation) -> torch.optim.AdamW:
    """Return AdamW over the trainable weights; vectors (norms, biases) are not decayed."""
    import torch  # here, since who only reads options does not need it

    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, fused=True)


def add_gradients(optimizer: torch.optim.Optimizer, micro_batches: Iterable[Callable[[], Tensor]]) -> float:
    """Leave the gradients of a step's added losses in the weights, and nothing else, and return the sum of the losses.

    They are added since they are parts of one mean, see `Scored`.
    """
    optimizer.zero_grad(set_to_none=True)
    loss = 0.0
    for micro_batch in micro_batches:
        part = micro_batch()
        part.backward()
        loss += float(part.detach())
    return loss


Steer = Callable[["Mapping[str, Tensor]"], "Mapping[str, Tensor]"]
"""Says what the gradients of a step, by the names of the weights, become before they are clipped."""


def steered(model: Any, steer: Steer | None) -> None:
    """Put what becomes of a step's gradients in their place, where anybody has something to say of them."""
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
    """Run optimiser steps. Each is its number and what leaves its gradients in the weights and returns its loss.

    `on_step(number, loss, taken)` follows each. A step whose loss or gradient is not finite changes nothing and is not
    taken, so that one bad batch cannot destroy a model; how many these were is returned.
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
    optimizer.zero_grad(set_to_none=True)  # gradients are as large as what is trained, and answering follows
    return skipped
