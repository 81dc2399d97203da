"""Divergences of a student's categories from a teacher's: pure functions from log-probs [p, c] to losses [p].

The categories of a row are the k tokens that the teacher names and the tail, which holds all other tokens. An unused
position has log-prob UNUSED on both sides, and so no mass at any temperature.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lada.objectives.forms import log1mexp

if TYPE_CHECKING:
    from torch import Tensor

UNUSED = -1e6
"""Nats. Unlike -inf, it has finite gradients."""
NOTHING = 1e-6
"""Tail mass that may be mere rounding."""


def categories(teacher: Tensor, student: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """Return both sides' log-probs [p, k + 1]: of the named tokens, [p, k] where `used`, and of the tail.

    The tail is dropped if both sides have at most NOTHING there. It could not be told from rounding, but a temperature
    would amplify it. Otherwise neither side's tail is below about 1e-7, the resolution of float32, so that its
    logarithm and gradient are finite.
    """
    import torch  # here, since reading an objective's options does not need it

    sides = [side.masked_fill(~used, UNUSED) for side in (teacher, student)]
    tails = [log1mexp(side.logsumexp(1, keepdim=True)) for side in sides]
    nothing = torch.maximum(*tails) < math.log(NOTHING)
    a, b = (torch.cat([side, tail.masked_fill(nothing, UNUSED)], 1) for side, tail in zip(sides, tails, strict=True))
    return a, b


def tempered(log_probs: Tensor, temperature: float) -> Tensor:
    """Return log p^(1/T), normalised over the categories [p, c]: softmax(logits / T) where every token is one."""
    return (log_probs / temperature).log_softmax(1)


def cross_entropy(teacher: Tensor, student: Tensor) -> Tensor:
    """-Σ p log q."""
    return -(teacher.exp() * student).sum(1)


def forward_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ p (log p - log q)."""
    return (teacher.exp() * (teacher - student)).sum(1)


def reverse_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(q ‖ p)."""
    return forward_kl(student, teacher)


def generalised_jsd(teacher: Tensor, student: Tensor, beta: float) -> Tensor:
    """β KL(p ‖ m) + (1 - β) KL(q ‖ m) with m = β p + (1 - β) q; KL(p ‖ q) at β = 0 and KL(q ‖ p) at β = 1.

    This is D_JSD(β) of GKD (arXiv 2306.13649), with its two limits by name, since the sum itself vanishes there.
    """
    if beta in (0, 1):
        return (reverse_kl if beta else forward_kl)(teacher, student)
    middle = (teacher + math.log(beta)).logaddexp(student + math.log1p(-beta))
    return beta * forward_kl(teacher, middle) + (1 - beta) * forward_kl(student, middle)


def jsd(teacher: Tensor, student: Tensor) -> Tensor:
    """(KL(p ‖ m) + KL(q ‖ m)) / 2 with m = (p + q) / 2: the Jensen-Shannon divergence, at most log 2."""
    middle = teacher.logaddexp(student) - math.log(2)
    return (forward_kl(teacher, middle) + forward_kl(student, middle)) / 2
