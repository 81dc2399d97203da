"""Every sample: what a bare host learns from, and the most that a filter could choose."""

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import allocate, from_teacher
from lada.core.needs import needs
from lada.core.terms import Verb


@ALLOCATORS.register("all", needs=needs({Verb.ANSWER}))
class All(Memoryless):
    """Every public sample, by the teacher's path."""

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        chosen = range(len(candidates.samples))
        return (
            state,
            allocate(candidates, chosen, from_teacher(chosen), None, dict.fromkeys(chosen, "every sample")),
            {},
        )
