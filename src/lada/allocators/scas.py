"""Student-centric answer selection (arXiv 2605.26872): the verified answers that cost the student least to learn.

We know only the abstract. Teachers' answers are verified and then chosen by an estimated learning cost. The cost is
motivated by a token-level decomposition of the gradient and needs only forward passes. Our reading: the gradient of a
token's loss with respect to the student's logits is p - e(y), and

    cost = mean over tokens of |p - e(y)|² = mean of Σ p² - 2 p(y) + 1

which is the Brier score, over the 50 likeliest tokens. We use the mean instead of the sum, which would favour short
paths.
"""

import numpy as np

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.looks import LIKELIEST, losses_and_briers
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate, from_teacher, top
from lada.core.needs import needs
from lada.core.terms import Verb


class ScasOptions(RuleOptions):
    """Options of student-centric answer selection."""

    gold: bool = True
    """Read which answers are right, as the paper does, and never take a path known to be wrong. Otherwise only the
    learning cost decides."""


@ALLOCATORS.register(
    "scas",
    options=ScasOptions,
    paper="arXiv 2605.26872",
    status="our reading",
    needs=needs({Verb.ANSWER}, {Verb.LOG_PROBS}),
    tags=("labels", "feature"),
)
class Scas(Memoryless):
    """The teacher's right paths, ordered by what they cost the student to learn, cheapest first.

    The paper chooses among several teachers' answers to one question, repeatedly during training. Here all paths of one
    teacher are compared once per round (our reading), so set a budget.
    """

    options: ScasOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply. The score is the negated cost, so that the best is the highest."""
        scores = -losses_and_briers(candidates.look(LIKELIEST))[1]
        allowed = np.isfinite(scores) & self.options.may_take(candidates.teacher_paths)
        chosen = top(scores, allowed, self.options.limit(len(scores)))
        reasons = dict.fromkeys(chosen, "among those with the lowest estimated learning cost")
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {}
