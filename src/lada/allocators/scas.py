"""Student-centric answer selection (arXiv 2605.26872): of verified answers those that cost the student least to learn.

We know the abstract alone: teachers' answers are verified and then chosen by an estimated learning cost, which a
decomposition of the gradient token by token motivates and which takes forward passes only. Our reading of the cost: the
gradient of a token's loss with respect to the student's logits is p - e(y), and

    cost = mean over tokens of |p - e(y)|² = mean of Σ p² - 2 p(y) + 1

the Brier score, over the 50 likeliest tokens. The mean, and not the sum, lest short paths win by being short.
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
    """Read which answers are right, as the paper does, which chooses among verified answers: never take a path that is
    known to be wrong. Without, the learning cost alone decides."""


@ALLOCATORS.register(
    "scas",
    options=ScasOptions,
    paper="arXiv 2605.26872",
    status="our reading",
    needs=needs({Verb.ANSWER}, {Verb.LOG_PROBS}),
)
class Scas(Memoryless):
    """The teacher's right paths in the order of what they cost the student to learn, the cheapest first.

    The paper chooses among the answers of several teachers to one question, anew while it trains. Here all paths of one
    teacher are compared, once a round (our reading); so give it a budget.
    """

    options: ScasOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply. The score is the cost with its sign turned, so that the best is the highest."""
        scores = -losses_and_briers(candidates.look(LIKELIEST))[1]
        allowed = np.isfinite(scores) & self.options.may_take(candidates.teacher_paths)
        chosen = top(scores, allowed, self.options.limit(len(scores)))
        reasons = dict.fromkeys(chosen, "among what costs the student least to learn")
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {}
