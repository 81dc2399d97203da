"""PLD: one ranking, the true token first and then the teacher's, learnt pick by pick."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from lada.core.bounds import SLIGHTEST, STEEPEST
from lada.core.needs import Needs
from lada.models.objective import Objective, Scored, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.divergences import tempered
from lada.objectives.top_k import TopK, asks, blend, gold_category, sides

if TYPE_CHECKING:
    from torch import Tensor


class PldOptions(TopK):
    """`loss = Σ over picks of the teacher's probability of the pick · its negative log-likelihood`."""

    temperature: float = Field(default=1.0, ge=SLIGHTEST, le=STEEPEST, allow_inf_nan=False)
    """τ of the teacher's probabilities, above 0 and at most 1000; the paper's CIFAR-100 runs use 4. Larger values weigh
    the picks more evenly."""


def needs(options: PldOptions) -> Needs:
    """Return what both parties must be able to do."""
    return asks(options, gold=True)


@OBJECTIVES.register(
    "pld",
    options=PldOptions,
    paper="arXiv 2506.12542",
    status="our reading",
    level="paper read",
    needs=needs,
    tags=("labels", "feature", "supervised", "ranking"),
)
class Pld(Objective):
    """Likelihood of the teacher's ranking, with the true token first, under the Plackett-Luce model.

    The ranking π is the true token y, then the other tokens by falling logits t of the teacher. With the student's
    logits s:

        L = Σ_k softmax(t / τ)_π_k · (log Σ_{j ≥ k} exp(s_π_j) - s_π_k)

    The formula is the paper's. The first pick is cross-entropy, so the labels need no weight of their own. With a
    teacher that is certain of y, L is the NLL. Ours: the ranking has the k named tokens and ends in the tail; if the
    teacher does not name y, the tail comes first in its place; a position without a soft target has its NLL.
    """

    options: PldOptions

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        if scored.soft is None:
            return nll(scored)
        teacher, student = sides(scored.soft)
        each = ranking_loss(teacher, student, gold_category(scored.soft), self.options.temperature)
        return blend(scored, scored.soft, each, label_weight=0.0)


def ranking_loss(teacher: Tensor, student: Tensor, first: Tensor, temperature: float) -> Tensor:
    """Return the loss [p] of log-probs [p, c], nats, whose ranking begins with category `first` [p].

    The last category is the tail. It ends the ranking unless it is the first, since the teacher finds each of its
    tokens less likely than any named one.
    """
    keys = teacher.clone()
    keys[:, -1] = -math.inf
    order = keys.scatter(1, first[:, None], math.inf).argsort(dim=1, descending=True, stable=True)
    weights, ranked = tempered(teacher, temperature).exp().gather(1, order), student.gather(1, order)
    rest = ranked.flip(1).logcumsumexp(1).flip(1)
    return (weights * (rest - ranked)).sum(1)
