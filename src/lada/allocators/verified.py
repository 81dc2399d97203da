"""Gold answers alone: learn right answers of either party."""

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import Budgeted, allocate
from lada.core.needs import needs
from lada.core.seeds import generator
from lada.core.terms import Source, Verb


@ALLOCATORS.register(
    "verified",
    options=Budgeted,
    status="our reading",
    needs=needs({Verb.ANSWER}, own_paths=True),
    tags=("labels", "feedback", "self-knowledge"),
)
class Verified(Memoryless):
    """Gold answers: for every question that at least one party gets right, a path of such a party.

    If both are right, the teacher's path is taken. With a budget, the teacher's paths come first and the student's own
    fill the rest. Within each, questions are drawn at random.
    """

    options: Budgeted

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        sources: dict[int, Source] = {}
        for i, (teacher, student) in enumerate(zip(candidates.teacher_paths, candidates.student_paths, strict=True)):
            if teacher.right:
                sources[i] = "teacher"
            elif student.right:
                sources[i] = "student"
        order = generator(candidates.seed, "verified").permutation(len(candidates.samples))
        drawn = [int(i) for i in order if int(i) in sources]
        chosen = sorted(drawn, key=lambda i: sources[i] != "teacher")[: self.options.limit(len(order))]
        reasons = {i: f"the {sources[i]}'s answer is right" for i in chosen}
        return state, allocate(candidates, chosen, sources, None, reasons), {}
