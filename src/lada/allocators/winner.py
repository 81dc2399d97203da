"""A contest between the two paths: the student learns the surer one."""

import numpy as np

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import COMPARING, Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate, same_answers, sureness, top
from lada.core.terms import Source


@ALLOCATORS.register("winner", options=RuleOptions, status="our reading", needs=COMPARING)
class Winner(Memoryless):
    """If the two answers differ, the path of the party that is more confident in its least likely token.

    A path without an answer never wins. With `gold`, neither does one known to be wrong, from either party.
    """

    options: RuleOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply. With a budget, the teacher's wins come first, surest first; a tie goes to the student.

        The student's own wins only fill the rest. Otherwise a confident student would spend the whole budget on itself.
        """
        teacher, student = (
            np.where(self.options.may_take(paths), sureness(paths), -np.inf)
            for paths in (candidates.teacher_paths, candidates.student_paths)
        )
        teacher_wins = teacher > student
        scores = np.where(teacher_wins, teacher, student)
        allowed = ~same_answers(candidates) & np.isfinite(scores)
        chosen = [*top(scores, allowed & teacher_wins, None), *top(scores, allowed & ~teacher_wins, None)]
        chosen = chosen[: self.options.limit(len(scores))]
        sources: dict[int, Source] = {i: "teacher" if teacher_wins[i] else "student" for i in chosen}
        reasons = {i: f"answers differ and the {sources[i]} is surer" for i in chosen}
        return state, allocate(candidates, chosen, sources, scores, reasons), {}
