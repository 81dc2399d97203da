"""LARK's learnability (arXiv 2605.30651): how fast studying a path would lower the loss on all of them.

With the student's mean token loss L and mean Brier score B on each of a teacher's paths, ρ = B / L, and

    g = (L / ΣL) · (2ρ − ΣρL / ΣL)

as in the paper. In the authors' code, B covers the 50 likeliest tokens, scaled to a sum of 1. Here they keep their
probabilities, and the path's own token is always included.
"""

import numpy as np

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.looks import LIKELIEST, losses_and_briers
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate, from_teacher, top
from lada.core.needs import needs
from lada.core.terms import Verb


@ALLOCATORS.register(
    "lark",
    options=RuleOptions,
    paper="arXiv 2605.30651",
    status="our reading",
    needs=needs({Verb.ANSWER}, {Verb.LOG_PROBS}),
    tags=("labels", "feature"),
)
class Lark(Memoryless):
    """The teacher's paths that the student could learn fastest, judged by their token probabilities.

    The paper compares several paths of one question and weights those that it takes. Here a teacher offers one path per
    question, so all paths are compared with each other, without weights (our reading).
    """

    options: RuleOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        losses, briers = losses_and_briers(candidates.look(LIKELIEST))
        scores = gains(losses, briers)
        allowed = (scores > 0) & self.options.may_take(candidates.teacher_paths)
        chosen = top(scores, allowed, self.options.limit(len(scores)))
        reasons = dict.fromkeys(chosen, "among those estimated to lower the student's loss fastest")
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {}


def gains(losses: np.ndarray, briers: np.ndarray) -> np.ndarray:
    """Return g [n] for mean token losses (nats) and mean Brier scores [n]; NaN if either is NaN, 0 without any loss."""
    known = np.isfinite(losses) & np.isfinite(briers)
    total = losses[known].sum()
    if total <= 0:
        return np.where(known, 0.0, np.nan)
    # (L / ΣL) · 2ρ is 2B / ΣL, so a path without loss needs no special case.
    return np.where(known, (2 * briers - losses * briers[known].sum() / total) / total, np.nan)
