"""Distillation from a teacher's likeliest tokens at each position, in addition to the text itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lada.models.objective import Objective, Scored, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.blended import Blended
from lada.objectives.divergences import cross_entropy, forward_kl, jsd, reverse_kl
from lada.objectives.top_k import TopK, asks, sides

if TYPE_CHECKING:
    from torch import Tensor

FORMS = {"ce": cross_entropy, "forward_kl": forward_kl, "reverse_kl": reverse_kl, "jsd": jsd}


class SoftTargetsOptions(TopK, Blended):
    """`loss = λ NLL + (1 - λ) T² divergence`: FedMKT's L2 and L3, with FedMKT's defaults.

    Both are averaged over the batch's tokens. A position without a soft target contributes its NLL alone.
    """

    form: Literal["ce", "forward_kl", "reverse_kl", "jsd"] = "ce"
    """The divergence over the teacher's k tokens and the tail as one more category. `ce` and `forward_kl` have the same
    gradient."""
    label_weight: float = 0.9
    """λ, from 0 to 1."""
    temperature: float = 1.0
    """T, on both sides, over the categories. The factor T² preserves the gradient's scale (arXiv 1503.02531)."""


@OBJECTIVES.register(
    "soft_targets",
    options=SoftTargetsOptions,
    paper="arXiv 2406.02224",
    needs=asks,
    tags=("labels", "feature", "supervised", "divergence"),
)
class SoftTargets(Objective):
    """Negative log-likelihood of the text plus a divergence from the teacher's likeliest tokens."""

    options: SoftTargetsOptions

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective. A lesson's weight applies to its soft positions too."""
        if scored.soft is None:
            return self.options.label_weight * nll(scored)
        teacher, student = sides(scored.soft, self.options.temperature)
        divergence = FORMS[self.options.form](teacher, student)
        return self.options.blend(scored, self.options.temperature**2 * divergence, scored.soft.rows)
