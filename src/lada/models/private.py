"""Differentially private training: DP-SGD (Abadi et al. 2016, arXiv 1607.00133) and its privacy accounting.

Each step draws each lesson independently with probability q (Poisson sampling). It clips each drawn lesson's gradient
to norm C and sums them. It adds normal noise of standard deviation σC and divides by the expected number of lessons.
Adding or removing one lesson changes the sum by at most C, so the final weights are (ε, δ)-private for each lesson.
What the optimiser does with the gradients, and any later use of the weights, costs nothing more.

Gradients are computed lesson by lesson. This works for every model and objective, but it is slow.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import Field, model_validator

from lada.core.bounds import Positive
from lada.core.errors import InputError
from lada.core.extras import require
from lada.core.plural import counted
from lada.core.registry import Options
from lada.models.training import Optimisation, learning_rate_at

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

T = TypeVar("T")


class Privacy(Options):
    """How private a study is. Set either `noise_multiplier` or `epsilon`."""

    noise_multiplier: Positive | None = None
    """σ: the noise's standard deviation as a multiple of `clip`."""
    epsilon: Positive | None = None
    """ε of one study, from which σ is computed. Studies add up; the results report the total."""
    delta: float = Field(default=1e-5, gt=0, lt=1)
    """δ, which should be well below 1 / (number of private samples)."""
    clip: Positive = 1.0
    """C: the maximum L2 norm of one lesson's gradient."""
    seeded: bool = False
    """Draw lessons and noise from the run's seed, so that runs can be repeated. Nothing is private then: anyone who
    knows the seed can remove the noise."""

    @model_validator(mode="after")
    def _one(self) -> Privacy:
        if (self.noise_multiplier is None) == (self.epsilon is None):
            raise ValueError("set exactly one of noise_multiplier and epsilon")
        return self


class Release(NamedTuple):
    """What one study releases: q, σ and the number of steps."""

    rate: float
    noise: float
    steps: int


def release(privacy: Privacy, lessons: int, batch_size: int, steps: int) -> Release:
    """Return what a study of `lessons` lessons, with `batch_size` of them per step on average, releases.

    Raises InputError if dp-accounting is needed but not installed, or if no noise achieves so small an ε.
    """
    rate = min(1.0, batch_size / lessons)
    if privacy.noise_multiplier is not None:
        return Release(rate, privacy.noise_multiplier, steps)
    accounting = _accounting()
    try:
        noise = accounting.calibrate_dp_mechanism(
            accounting.rdp.RdpAccountant,
            lambda noise: _event(accounting, Release(rate, noise, steps)),
            privacy.epsilon,
            privacy.delta,
        )
    except ValueError as error:
        raise InputError(
            f"dp.epsilon: {privacy.epsilon} at delta {privacy.delta} cannot be reached with {counted(steps, 'step')} "
            f"of {batch_size} of {counted(lessons, 'lesson')} ({error}); expected a larger epsilon, or fewer steps"
        ) from None
    return Release(rate, noise, steps)


def epsilon(releases: Iterable[Release], delta: float) -> float:
    """Return the total ε at `delta` of several releases about the same samples.

    It uses Rényi differential privacy of the Poisson-sampled Gaussian mechanism (Mironov et al. 2019, arXiv 1908.10530)
    in the package dp-accounting. Two data sets are neighbours if one has one more sample. Raises InputError if the
    package is not installed.
    """
    accounting = _accounting()
    accountant = accounting.rdp.RdpAccountant()
    for each in releases:
        accountant.compose(_event(accounting, each))
    return float(accountant.get_epsilon(delta))


def check_installed() -> None:
    """Raise InputError if the package for privacy accounting is missing."""
    _accounting()


def _event(accounting: Any, each: Release) -> Any:
    gaussian = accounting.GaussianDpEvent(each.noise)
    return accounting.SelfComposedDpEvent(accounting.PoissonSampledDpEvent(each.rate, gaussian), each.steps)


def _accounting() -> Any:
    who = "dp: privacy accounting"
    require("dp-accounting", who, "dp", module="dp_accounting.rdp")
    return require("dp-accounting", who, "dp")


def poisson_batches(lessons: int, rate: float, steps: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield `steps` batches of indices. Each batch includes each index with probability `rate` and may be empty."""
    import numpy as np  # here, since reading options does not need it

    for _ in range(steps):
        yield np.flatnonzero(rng.random(lessons) < rate).tolist()


def optimise_privately(
    model: Any,
    optimizer: torch.optim.Optimizer,
    steps: Iterable[tuple[int, Iterable[Callable[[], Tensor]]]],
    total: int,
    *,
    options: Optimisation,
    clip: float,
    noise: float,
    expected: float,
    seed: int,
    on_step: Callable[[int, float, bool], None],
) -> int:
    """Run optimiser steps as `lada.models.training.optimise` does, except for the gradient. Each closure is one lesson.

    The gradient is (Σ clipped + N(0, (noise·clip)²)) / `expected`. A lesson with a non-finite gradient adds nothing.
    `on_step` receives NaN as the loss, since a loss would reveal something about the lessons. A step has no clipping of
    its own. No step is skipped, and the result is 0: the number of failed lessons would be revealing too.
    """
    import torch

    trainable = [p for p in model.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(seed)
    for number, lessons in steps:
        rate = learning_rate_at(number, total, options)
        for group in optimizer.param_groups:
            group["lr"] = rate
        sums = [torch.zeros_like(p) for p in trainable]
        for closure in lessons:
            optimizer.zero_grad(set_to_none=True)
            closure().backward()
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trainable]
            norm = float(torch.linalg.vector_norm(torch.stack([g.float().norm() for g in gradients])))
            if math.isfinite(norm):
                share = min(1.0, clip / norm) if norm else 1.0
                for held, gradient in zip(sums, gradients, strict=True):
                    held.add_(gradient, alpha=share)
        for parameter, held in zip(trainable, sums, strict=True):
            drawn = torch.normal(0.0, noise * clip, held.shape, generator=generator)
            parameter.grad = (held + drawn.to(held.device, held.dtype)) / expected
        optimizer.step()
        on_step(number, math.nan, True)
    return 0


def one_by_one(micro_batches: Callable[[list[int]], Iterator[T]]) -> Callable[[list[int]], Iterator[T]]:
    """Return a function that makes each lesson a batch of its own, so that losses are independent."""
    return lambda batch: chain.from_iterable(micro_batches([i]) for i in batch)


def private_training(
    privacy: Privacy, lessons: int, batch_size: int, steps: int, seed: int
) -> tuple[Iterator[list[int]], Callable[..., int]]:
    """Return the batches of a study and its training loop, which replaces lada.models.training.optimise.

    Lessons and noise come from the system's entropy, unless they are `seeded`.
    """
    import numpy as np

    spent = release(privacy, lessons, batch_size, steps)
    rng = np.random.default_rng(seed if privacy.seeded else secrets.randbits(256))
    train = partial(
        optimise_privately,
        clip=privacy.clip,
        noise=spent.noise,
        expected=spent.rate * lessons,
        seed=int(rng.integers(2**63)),
    )
    return poisson_batches(lessons, spent.rate, steps, rng), train
