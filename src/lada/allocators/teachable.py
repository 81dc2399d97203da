"""A rule on verdicts and losses: only the teacher is right, and it is more confident than the student."""

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.features import prior_reward
from lada.allocators.memoryless import COMPARING, Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate, from_teacher
from lada.core.seeds import generator


class TeachableOptions(RuleOptions):
    """Options of the rule."""

    gold: bool = True
    """Read which answers are right, and take samples on which only the teacher is right. Otherwise only the loss
    decides."""


@ALLOCATORS.register(
    "teachable", options=TeachableOptions, status="our reading", needs=COMPARING, tags=("labels", "feedback")
)
class Teachable(Memoryless):
    """The samples on which only the teacher is right and its loss is lower.

    If gold answers are unknown or not read, the loss alone decides, as in `dual_min_ce`, except that a path without an
    answer is never learnt. With a budget, questions are drawn at random.
    """

    options: TeachableOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        scores = prior_reward(candidates, gold=self.options.gold)
        order = generator(candidates.seed, "teachable").permutation(len(scores))
        allowed = (scores == 1) & self.options.may_take(candidates.teacher_paths)
        chosen = [int(i) for i in order if allowed[i]][: self.options.limit(len(scores))]
        reasons = dict.fromkeys(chosen, "the teacher's loss is lower and, if known, only its answer is right")
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {}
