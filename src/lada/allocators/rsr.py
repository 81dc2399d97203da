"""The rank-surprisal ratio (arXiv 2601.14249): paths whose tokens rank high with the student yet are improbable.

    RSR = Σ min(rank, 100) / Σ -log p

over the tokens of a path, both under the student; lower is better. The formula, the clip at 100 and the direction are
from the authors' code (UmeanNever/RankSurprisalRatio, read).
"""

import numpy as np

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.looks import losses_and_ranks
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate, from_teacher, top
from lada.core.needs import needs
from lada.core.terms import Verb

CLIP = 100
"""Largest rank that counts; see losses_and_ranks."""
LEAST = 1e-12
"""Minimum nats per token, so that a path that the student knows by heart has a (huge) ratio too."""


@ALLOCATORS.register(
    "rsr",
    options=RuleOptions,
    paper="arXiv 2601.14249",
    status="our reading",
    needs=needs({Verb.ANSWER}, {Verb.LOG_PROBS}),
    tags=("labels", "feature"),
)
class Rsr(Memoryless):
    """The teacher's paths with the lowest rank-surprisal ratio: tokens that rank high with the student yet surprise it.

    The paper takes the best of several paths of one question. Here a teacher offers one path per question, so all paths
    are compared with each other (our reading). Without a budget, every path that the student can trace is taken. The
    end of the text counts as a token, as in all losses here; the authors' code leaves it out.
    """

    options: RuleOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply. The score is the negated ratio, so that the best is the highest."""
        losses, ranks = losses_and_ranks(candidates.look(CLIP))
        scores = -ranks / np.maximum(losses, LEAST)
        allowed = np.isfinite(scores) & self.options.may_take(candidates.teacher_paths)
        chosen = top(scores, allowed, self.options.limit(len(scores)))
        reasons = dict.fromkeys(chosen, "the student ranks its tokens high, yet finds them improbable")
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {}
