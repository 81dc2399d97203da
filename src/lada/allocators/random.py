"""A random draw: the control for every filter with a budget."""

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import Drawn, allocate, from_teacher
from lada.core.needs import needs
from lada.core.seeds import generator
from lada.core.terms import Verb


@ALLOCATORS.register(
    "random", options=Drawn, needs=needs({Verb.ANSWER}), by_order="places are drawn, not ids", tags=("labels",)
)
class Random(Memoryless):
    """Samples drawn at random up to the budget: the control for every filter with that budget."""

    options: Drawn

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        count, allowed = len(candidates.samples), self.options.may_take(candidates.teacher_paths)
        drawn = generator(candidates.seed, "random").permutation(count)
        chosen = [int(i) for i in drawn if allowed[i]][: self.options.draws(count)]
        return (
            state,
            allocate(candidates, chosen, from_teacher(chosen), None, dict.fromkeys(chosen, "drawn at random")),
            {},
        )
