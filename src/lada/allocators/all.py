"""Every sample: the choice of a bare host, and the most that a filter can choose."""

import numpy as np

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import Gold, allocate, from_teacher
from lada.core.needs import needs
from lada.core.terms import Verb


@ALLOCATORS.register("all", options=Gold, needs=needs({Verb.ANSWER}), tags=("labels",))
class All(Memoryless):
    """Every public sample, with the teacher's path."""

    options: Gold

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        chosen = np.flatnonzero(self.options.may_take(candidates.teacher_paths)).tolist()
        return (
            state,
            allocate(candidates, chosen, from_teacher(chosen), None, dict.fromkeys(chosen, "every sample")),
            {},
        )
