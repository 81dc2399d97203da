"""The teacher's confidence in its own path: the simplest filter there is."""

import numpy as np

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import CONFIDENT, Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate, from_teacher, top
from lada.core.needs import needs


@ALLOCATORS.register("confident", options=RuleOptions, needs=needs(CONFIDENT), tags=("labels", "feedback"))
class Confident(Memoryless):
    """The samples with the highest mean token log-prob of the teacher on its own path."""

    options: RuleOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        scores = np.array([path.likelihood.mean for path in candidates.teacher_paths])
        allowed = np.isfinite(scores) & self.options.may_take(candidates.teacher_paths)
        chosen = top(scores, allowed, self.options.limit(len(scores)))
        reasons = dict.fromkeys(chosen, "the teacher is confident in its path")
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {}
