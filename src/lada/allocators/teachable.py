"""A rule by verdicts and losses: the teacher alone is right, and surer than the student."""

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.features import prior_reward
from lada.allocators.memoryless import COMPARING, Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate, from_teacher
from lada.core.seeds import generator


class TeachableOptions(RuleOptions):
    """Options of the rule."""

    gold: bool = True
    """Read which answers are right: take what the teacher alone is right about. Without, the loss alone decides."""


@ALLOCATORS.register("teachable", options=TeachableOptions, status="our reading", needs=COMPARING)
class Teachable(Memoryless):
    """The samples on which the teacher alone is right, and its loss is the lower.

    Where no gold answers are known, or read, the loss alone decides, as in `dual_min_ce`, but that a path without an
    answer is never learnt. Under a budget questions are drawn at random.
    """

    options: TeachableOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        scores = prior_reward(candidates, gold=self.options.gold)
        order = generator(candidates.seed, "teachable").permutation(len(scores))
        allowed = (scores == 1) & self.options.may_take(candidates.teacher_paths)
        chosen = [int(i) for i in order if allowed[i]][: self.options.limit(len(scores))]
        reasons = dict.fromkeys(chosen, "new to the student, and the teacher's loss is the lower")
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {}
