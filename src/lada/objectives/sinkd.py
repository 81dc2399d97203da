"""SinKD: the cost of transporting a batch of student distributions to the batch of the teacher's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from lada.core.bounds import STEEPEST, Positive
from lada.core.needs import Needs
from lada.models.objective import Objective, Scored, Soft, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.blended import Blended
from lada.objectives.top_k import TopK, asks, blend, sides

if TYPE_CHECKING:
    from torch import Tensor


class SinkdOptions(TopK, Blended):
    """`loss = λ NLL + (1 - λ) cost of transport` at positions with a soft target, and NLL elsewhere."""

    label_weight: float = 0.5
    """λ, from 0 to 1."""
    temperature: float = 2.0
    """T, on both sides, above 0 and at most 1000."""
    epsilon: Positive = 0.1
    """ε, above 0: strength of the entropic regularisation. Costs range from 0 to 2, so a large ε pairs every position
    with every other, and a small one needs more iterations."""
    iterations: int = Field(default=20, ge=1, le=STEEPEST)
    """Number of Sinkhorn iterations, 1 to 1000. Each scales the rows of the plan, then its columns."""
    debiased: bool = False
    """Use the Sinkhorn divergence, which is 0 if both sides are equal, instead of the paper's cost, which is not."""
    positions: int = Field(default=256, ge=1, le=2**14)
    """Maximum number of positions per transport, 1 to 16384. A larger batch is divided into several of equal size. Time
    and memory grow with its square."""


def needs(options: SinkdOptions) -> Needs:
    """Return what both parties must be able to do."""
    return asks(options, couples_batch=True)


@OBJECTIVES.register(
    "sinkd",
    options=SinkdOptions,
    paper="arXiv 2402.17110",
    status="our reading",
    level="code read",
    needs=needs,
    by_order="a batch with more than `positions` positions is divided by their order",
    tags=("labels", "feature", "supervised", "divergence"),
)
class Sinkd(Objective):
    """Entropic transport from the student's distributions to the teacher's, over all positions of a batch.

    Row i of P is the student's distribution at position i, row j of Q the teacher's at j:

        C_ij = ‖P_i - Q_j‖₁
        Π = exp(-C / ε), its rows and columns scaled in turn to sums of 1
        L = Σ_ij Π_ij C_ij

    We follow the authors' code (2018cx/SinKD, `loss.py`), which ends with the columns, but scale logarithms. We take
    the mean over positions instead of the sum with a factor. With `debiased`, L is the Sinkhorn divergence (arXiv
    1810.08278, eq. 3), `W(P, Q) - W(P, P) / 2 - W(Q, Q) / 2` with `W = Σ Π (C + ε log Π)`. Ours: a position is
    represented by the tokens that the teacher names there and by the tail, on both sides.
    """

    options: SinkdOptions

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        if scored.soft is None:
            return nll(scored)
        return blend(scored, scored.soft, self._costs(scored.soft), self.options.label_weight)

    def _costs(self, soft: Soft) -> Tensor:
        """Return the cost of transport to each position [p]. Neighbours go to different transports."""
        import torch

        teacher, student = points(soft, self.options.temperature)
        transports = max(1, -(-len(teacher) // self.options.positions))
        parts = [torch.arange(first, len(teacher), transports, device=teacher.device) for first in range(transports)]
        costs = torch.cat([self._cost(student[part], teacher[part]) for part in parts])
        return costs[torch.cat(parts).argsort()]

    def _cost(self, student: Tensor, teacher: Tensor) -> Tensor:
        options = self.options
        if not options.debiased:
            return transport(student, teacher, options.epsilon, options.iterations)
        across, own, its = (
            transport(a, b, options.epsilon, options.iterations, entropic=True)
            for a, b in ((student, teacher), (student, student), (teacher, teacher))
        )
        return across - (own + its) / 2


def points(soft: Soft, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the teacher's and the student's probabilities [p, u + 1] of all tokens named anywhere, and of the tail.

    A token that is not named at a position has probability 0 there: what it has belongs to the tail.
    """
    used = ~soft.teacher.isneginf()
    named, places = soft.ids[used].unique(return_inverse=True)
    columns = soft.ids.new_full((len(used), used.shape[1] + 1), len(named))
    columns[:, :-1][used] = places
    teacher, student = (
        side.new_zeros((len(used), len(named) + 1)).scatter_add(1, columns, side.exp())
        for side in sides(soft, temperature)
    )
    return teacher, student


def transport(sources: Tensor, targets: Tensor, epsilon: float, iterations: int, *, entropic: bool = False) -> Tensor:
    """Return the cost of transporting `sources` [n, c] to each of the `targets` [n, c], [n], by Sinkhorn's algorithm.

    With `entropic`, it includes the entropy of the plan: Σ_i Π_ij (C_ij + ε log Π_ij) instead of Σ_i Π_ij C_ij.
    """
    import torch

    costs = torch.cdist(sources, targets, p=1)
    log_plan = -costs / epsilon
    for _ in range(iterations):
        log_plan = log_plan.log_softmax(1)  # rows sum to 1
        log_plan = log_plan.log_softmax(0)  # columns do
    return (log_plan.exp() * (costs + epsilon * log_plan if entropic else costs)).sum(0)
