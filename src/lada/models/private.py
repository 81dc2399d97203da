"""Differentially private studies: DP-SGD (Abadi et al. 2016, arXiv 1607.00133), and what it spends.

A step draws each lesson with probability q on its own (Poisson), clips each drawn lesson's gradient to length C, adds
them up, adds normal noise of standard deviation σC and divides by the number of lessons expected. Adding or removing
one lesson changes the sum by C at most, so the weights after all steps are (ε, δ)-private with regard to a lesson; what
the optimiser makes of the gradients, and what is done with the weights, costs nothing more.

Gradients are taken lesson by lesson, which works for every model and objective and is as slow as it sounds.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import Field, model_validator

from lada.core.bounds import Positive
from lada.core.distribution import install_command
from lada.core.errors import InputError
from lada.core.plural import counted
from lada.core.registry import Options
from lada.models.training import Optimisation, learning_rate_at

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

T = TypeVar("T")


class Privacy(Options):
    """How private a study is; set one of `noise_multiplier` and `epsilon`."""

    noise_multiplier: Positive | None = None
    """σ: the noise's standard deviation as a multiple of `clip`."""
    epsilon: Positive | None = None
    """ε of one study, which σ is then chosen for. Studies add up: what all have spent stands in the results."""
    delta: float = Field(default=1e-5, gt=0, lt=1)
    """δ: should be well below one over the number of private samples."""
    clip: Positive = 1.0
    """C: what the gradient of one lesson is clipped to, L2."""
    seeded: bool = False
    """Draw lessons and noise from the run's seed, so that runs repeat. Whoever knows the seed can take the noise away,
    so nothing is private then."""

    @model_validator(mode="after")
    def _one(self) -> Privacy:
        if (self.noise_multiplier is None) == (self.epsilon is None):
            raise ValueError("set one of noise_multiplier and epsilon, and not both")
        return self


class Release(NamedTuple):
    """What one study lets out: q, σ and the number of steps."""

    rate: float
    noise: float
    steps: int


def release(privacy: Privacy, lessons: int, batch_size: int, steps: int) -> Release:
    """Return what a study of so many lessons, `batch_size` of them a step in the mean, lets out.

    Raises InputError where dp-accounting is needed and not installed, or no noise gives so small an ε.
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
            f"dp.epsilon: {privacy.epsilon} at delta {privacy.delta} cannot be had with {counted(steps, 'step')} of "
            f"{batch_size} "
            f"of {counted(lessons, 'lesson')} ({error}); expected a larger epsilon, or fewer steps"
        ) from None
    return Release(rate, noise, steps)


def epsilon(releases: Iterable[Release], delta: float) -> float:
    """Return the ε at `delta` that some releases about the same samples have spent together.

    By Rényi differential privacy of the Poisson-sampled Gaussian mechanism (Mironov et al. 2019, arXiv 1908.10530) in
    the package dp-accounting; two data sets are neighbours where one has a sample more. Raises InputError where the
    package is not installed.
    """
    accounting = _accounting()
    accountant = accounting.rdp.RdpAccountant()
    for each in releases:
        accountant.compose(_event(accounting, each))
    return float(accountant.get_epsilon(delta))


def check_installed() -> None:
    """Raise InputError where the package that counts what is spent is missing."""
    _accounting()


def _event(accounting: Any, each: Release) -> Any:
    gaussian = accounting.GaussianDpEvent(each.noise)
    return accounting.SelfComposedDpEvent(accounting.PoissonSampledDpEvent(each.rate, gaussian), each.steps)


def _accounting() -> Any:
    try:
        import_module("dp_accounting.rdp")
        return import_module("dp_accounting")
    except ImportError:
        raise InputError(
            "dp: differential privacy is counted by the package dp-accounting, which is not installed; "
            + install_command("dp")
        ) from None


def poisson_batches(lessons: int, rate: float, steps: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield `steps` batches of indices; each index is in each batch with probability `rate`, so one may be empty."""
    import numpy as np  # here, since who only reads options does not need it

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
    """Run optimiser steps as `lada.models.training.optimise` does, but for the gradient; a closure is one lesson.

    The gradient is (Σ clipped + N(0, (noise·clip)²)) / `expected`. A lesson whose gradient is not finite adds nothing.
    `on_step` is told no loss (NaN): it would say something of the lessons. A step has no clipping of its own.
    None is skipped, and 0 returned: how many lessons add nothing would say something of them too.
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
    """Return what makes each lesson a batch of its own, whose loss knows of no other."""
    return lambda batch: chain.from_iterable(micro_batches([i]) for i in batch)


def private_training(
    privacy: Privacy, lessons: int, batch_size: int, steps: int, seed: int
) -> tuple[Iterator[list[int]], Callable[..., int]]:
    """Return the batches of a study and what trains on them, in the place of lada.models.training.optimise.

    Lessons and noise are drawn from what nobody can tell, unless they are `seeded`.
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
