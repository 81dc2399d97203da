"""BD-KD: both directions of KL divergence. The one that suits the student's entropy has the larger weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from lada.core.bounds import STEEPEST
from lada.models.objective import Objective, Scored, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.blended import Blended
from lada.objectives.divergences import cross_entropy, forward_kl, reverse_kl
from lada.objectives.top_k import TopK, asks, blend, sides

if TYPE_CHECKING:
    from torch import Tensor

EQUAL = 1e-6
"""Nats. Entropies that differ by less may be equal, apart from rounding."""


class BdKdOptions(TopK, Blended):
    """`loss = λ NLL + (1 - λ) T² divergence` at positions with a soft target, and NLL elsewhere."""

    label_weight: float = 0.5
    """λ, from 0 to 1. At 0.5, labels and divergence count alike."""
    temperature: float = 1.0
    """T, on both sides, for the divergences and the entropies."""
    role: Literal["student", "teacher"] = "student"
    """Which of the two losses this party learns by. For a server that learns from its clients, as the teacher of online
    distillation does, set `server.objective` to `role: teacher`."""
    delta: float = Field(default=3.0, ge=1, le=STEEPEST, allow_inf_nan=False)
    """δ, from 1 to 1000: the weight of the direction that suits the entropies; the other has weight 1. For role student
    only."""

    @model_validator(mode="after")
    def _used(self) -> BdKdOptions:
        if self.role == "teacher" and self.delta != type(self).model_fields["delta"].default:
            raise ValueError(
                f"delta is {self.delta}, but role teacher does not use it; expected delta 3, or role student"
            )
        return self


@OBJECTIVES.register(
    "bd_kd",
    options=BdKdOptions,
    paper="arXiv 2212.12965",
    status="our reading",
    level="second-hand",
    needs=asks,
    tags=("labels", "feature", "supervised", "divergence"),
)
class BdKd(Objective):
    """Forward and reverse KL to the other party, weighted at each position by the two entropies.

    With p for the other party, q for this one and entropies H:

        student:  w_f KL(p ‖ q) + w_r KL(q ‖ p)
                  w_f = δ if H(p) > H(q), else 1;  w_r = δ if H(q) > H(p), else 1
        teacher:  KL(q ‖ p)

    An unsure student has to drop what the teacher leaves out, and an overconfident one has to cover what it allows. We
    know the paper from summaries, which confirm both losses, and δ = 3 from another group's code (ghwang-s/abkd). Ours:
    labels at equal weight, the factor T², the tail as one more category.
    """

    options: BdKdOptions

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        if scored.soft is None:
            return nll(scored)
        other, own = sides(scored.soft, self.options.temperature)
        each = reverse_kl(other, own) if self.options.role == "teacher" else balanced(other, own, self.options.delta)
        return blend(scored, scored.soft, self.options.temperature**2 * each, self.options.label_weight)


def balanced(teacher: Tensor, student: Tensor, delta: float) -> Tensor:
    """Return the student's loss [p] of log-probs [p, c], nats. No gradient flows through the choice of weights."""
    unsure = (cross_entropy(student, student) - cross_entropy(teacher, teacher)).detach()
    forward, reverse = (1 + (delta - 1) * (gap > EQUAL) for gap in (-unsure, unsure))
    return forward * forward_kl(teacher, student) + reverse * reverse_kl(teacher, student)
