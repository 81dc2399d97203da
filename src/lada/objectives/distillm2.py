"""DistiLLM-2: the teacher's texts become likelier, and the student's own less likely where the teacher disagrees."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from lada.core.bounds import Share
from lada.core.needs import Needs, SignalSpec
from lada.core.terms import Verb
from lada.models.objective import Objective, Scored, nll, others, own_texts
from lada.objectives.base import OBJECTIVES
from lada.objectives.divergences import forward_kl
from lada.objectives.top_k import TopK, batch_mean, blend, sides

if TYPE_CHECKING:
    from torch import Tensor


class Distillm2Options(TopK):
    """`loss = λ NLL + (1 - λ) (1 - β) SKL` on the teacher's texts, and `(1 - λ) β SRKL` on the student's own."""

    k: int = Field(default=32, ge=2)
    """Number of tokens per position that a teacher sends, of its own texts and of the student's."""
    skew: float = Field(default=0.1, ge=0, lt=1)
    """α, from 0 to below 1: the share of a divergence's first side in its second. 0 gives plain divergences."""
    balance: Share = 0.5
    """β, from 0 to 1: the weight of the student's own texts."""
    label_weight: Share = 0.0
    """λ, from 0 to 1. Texts without soft targets, such as replayed ones, always contribute their whole NLL."""


def asks(options: Distillm2Options) -> Needs:
    """Return what both parties must be able to do."""
    signal = SignalSpec(
        options.k, options.alignment, options.inside, shuffled=options.shuffled, texts=("teacher", "student")
    )
    return Needs(frozenset({Verb.LOG_PROBS}), frozenset({Verb.STUDY}), signal, own_lessons=True)


@OBJECTIVES.register(
    "distillm2",
    options=Distillm2Options,
    paper="arXiv 2503.07067",
    status="our reading",
    needs=asks,
    tags=("labels", "feature", "feedback", "self-knowledge", "supervised", "divergence"),
)
class Distillm2(Objective):
    """Skewed KL on the teacher's texts and skewed reverse KL on the student's own.

    SKL = KL(p ‖ α p + (1 - α) q) and SRKL = KL(q ‖ (1 - α) p + α q), with the teacher p and the student q. The paper
    adapts α to each batch and raises β during training; here both are constant. The tail is one more category.
    """

    options: Distillm2Options

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        if scored.soft is None:
            return nll(others(scored))
        teacher, student = sides(scored.soft)
        skew, balance, label_weight = self.options.skew, self.options.balance, self.options.label_weight
        taught = blend(others(scored), scored.soft, (1 - balance) * skewed_kl(teacher, student, skew), label_weight)
        judged = batch_mean(own_texts(scored), scored.soft, balance * skewed_kl(student, teacher, skew))
        return taught + (1 - label_weight) * judged


def skewed_kl(p: Tensor, q: Tensor, skew: float) -> Tensor:
    """Return KL(p ‖ α p + (1 - α) q) of log-probs [n, c], nats [n] (arXiv 2402.03898)."""
    if skew == 0:
        return forward_kl(p, q)
    return forward_kl(p, (p + math.log(skew)).logaddexp(q + math.log1p(-skew)))
