"""The pair losses of a contrast: pure functions from log-likelihoods [m] to one loss per pair [m], in nats."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CERTAIN = 2.0**-23
"""Float32's precision. A log-prob above -CERTAIN is treated as -CERTAIN, since float32 cannot tell its probability from
1."""


def log1mexp(log_p: Tensor) -> Tensor:
    """Return log(1 - p) for log p <= 0. It and its gradient are finite for every p in [0, 1]."""
    return (-log_p.clamp(max=-CERTAIN).expm1()).log()


def dpo(chosen: Tensor, rejected: Tensor, alpha: float) -> Tensor:
    """-log σ(α (chosen - rejected)): DPO (arXiv 2305.18290, eq. 7), with its β called α.

    With a reference, both sides are log-ratios to it; without one, they are plain log-likelihoods.
    """
    return -_logsigmoid(alpha * (chosen - rejected))


def simpo(chosen: Tensor, rejected: Tensor, alpha: float, margin: float) -> Tensor:
    """-log σ(α (chosen - rejected) - γ) over mean token log-probs: SimPO (arXiv 2405.14734, eq. 6)."""
    return -_logsigmoid(alpha * (chosen - rejected) - margin)


def odds_ratio(chosen: Tensor, rejected: Tensor) -> Tensor:
    """-log σ(log odds(chosen) - log odds(rejected)), odds p / (1 - p) of p = exp(mean token log-prob).

    ORPO (arXiv 2403.07691, eq. 7).
    """
    return -_logsigmoid((chosen - log1mexp(chosen)) - (rejected - log1mexp(rejected)))


def hinge(chosen: Tensor, rejected: Tensor, margin: float) -> Tensor:
    """max(0, γ - (chosen - rejected)) over mean token log-probs: the hinge loss.

    Its gradient is 0 from the margin γ on. SLiC-HF (arXiv 2305.10425) uses it with whole-path log-likelihoods.
    """
    return (margin - (chosen - rejected)).relu()


def lost(now: Tensor, before: Tensor) -> Tensor:
    """max(0, before - now): the penalty of DPO-Positive (arXiv 2402.13228) for a path that became less likely."""
    return (before - now).relu()


def unlikelihood(token: Tensor) -> Tensor:
    """-log(1 - p) of one token's log-prob: unlikelihood training (arXiv 1908.04319, eq. 4)."""
    return -log1mexp(token)


def _logsigmoid(x: Tensor) -> Tensor:
    from torch.nn.functional import logsigmoid  # here, since reading an objective's options does not need torch

    return logsigmoid(x)
