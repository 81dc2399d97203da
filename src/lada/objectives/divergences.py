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


def jsd(teacher: Tensor, student: Tensor) -> Tensor:
    """(KL(p ‖ m) + KL(q ‖ m)) / 2 with m = (p + q) / 2: the Jensen-Shannon divergence, at most log 2."""
    middle = teacher.logaddexp(student) - math.log(2)
    return (forward_kl(teacher, middle) + forward_kl(student, middle)) / 2
