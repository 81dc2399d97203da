"""Distillation from a teacher's likeliest tokens at each position, beside the text itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from lada.core.bounds import MOST_K
from lada.core.needs import Needs, SignalSpec
from lada.core.terms import Verb
from lada.models.objective import Objective, Scored, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.blended import Blended
from lada.objectives.divergences import categories, cross_entropy, forward_kl, jsd, reverse_kl, tempered

if TYPE_CHECKING:
    from torch import Tensor

FORMS = {"ce": cross_entropy, "forward_kl": forward_kl, "reverse_kl": reverse_kl, "jsd": jsd}


class SoftTargetsOptions(Blended):
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
    k: int = 32
    """Number of tokens per position that a teacher sends. Fewer cost less traffic."""
    alignment: Literal["offsets", "mined"] = "offsets"
    """How tokens of two tokenizers are matched: by shared byte boundaries, or by the paper's dynamic programming."""
    inside: Literal["mask", "one_hot"] = "mask"
    """A position inside a longer token of the teacher has no soft target (`mask`), or its own token as in the paper."""

    @model_validator(mode="after")
    def _possible(self) -> SoftTargetsOptions:
        if not 1 <= self.k <= MOST_K:
            raise ValueError(f"k is {self.k}; expected 1 to {MOST_K} tokens")
        return self


def asks(options: SoftTargetsOptions) -> Needs:
    """Return what both parties must be able to do."""
    signal = SignalSpec(options.k, options.alignment, options.inside)
    return Needs(frozenset({Verb.LOG_PROBS}), frozenset({Verb.STUDY}), signal)


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
        used = ~scored.soft.teacher.isneginf()
        sides = categories(scored.soft.teacher, scored.soft.student, used)
        teacher, student = (tempered(side, self.options.temperature) for side in sides)
        divergence = FORMS[self.options.form](teacher, student)
        return self.options.blend(scored, self.options.temperature**2 * divergence, scored.soft.rows)
