"""Rules without memory. They are the controls every filter is compared with, and good ones."""

from collections.abc import Sequence

import numpy as np

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.features import prior_reward
from lada.allocators.selection import Budgeted, Drawn, allocate, from_teacher, same_answers, sureness, top
from lada.core.needs import needs
from lada.core.registry import Options, Pluggable
from lada.core.seeds import generator
from lada.core.terms import Allocation, Likelihood, Source, Verb

Outcome = tuple[State, Allocation, dict[str, float]]
CONFIDENT = {Verb.ANSWER, Verb.CONFIDENCE}
COMPARING = needs(CONFIDENT, CONFIDENT, own_paths=True)


class Memoryless(Pluggable):
    """Base of rules that keep nothing between rounds."""

    def __init__(self, options: Options) -> None:
        self.options = options


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


@ALLOCATORS.register("random", options=Drawn, needs=needs({Verb.ANSWER}))
class Random(Memoryless):
    """As many samples as the budget allows, drawn at random: the control for every filter of that budget."""

    options: Drawn

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        count = len(candidates.samples)
        drawn = generator(candidates.seed, "random").permutation(count)[: self.options.draws(count)]
        chosen = [int(i) for i in drawn]
        return (
            state,
            allocate(candidates, chosen, from_teacher(chosen), None, dict.fromkeys(chosen, "drawn at random")),
            {},
        )


@ALLOCATORS.register("confident", options=Budgeted, needs=needs(CONFIDENT))
class Confident(Memoryless):
    """The samples on whose own path the teacher has the highest mean token log-prob."""

    options: Budgeted

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        scores = np.array([path.likelihood.mean for path in candidates.teacher_paths])
        chosen = top(scores, np.isfinite(scores), self.options.limit(len(scores)))
        reasons = dict.fromkeys(chosen, "the teacher is sure of its path")
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {}


@ALLOCATORS.register("dual_min_ce", options=Budgeted, paper="arXiv 2406.02224", needs=needs(CONFIDENT, CONFIDENT))
class DualMinCE(Memoryless):
    """FedMKT's selection for one pair: samples on which the teacher's loss is below the student's own.

    Losses are of each party's own path, in nats per byte, so that tokenizers do not matter. The choice among several
    teachers is the host's fuser. The larger the gap, the earlier a sample is taken under a budget (our reading; the
    paper has no budget).
    """

    options: Budgeted

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        gaps = _gaps(candidates, [path.likelihood for path in candidates.student_paths])
        chosen = top(gaps, gaps > 0, self.options.limit(len(gaps)))
        reasons = dict.fromkeys(chosen, "the teacher's loss is below the student's")
        return state, allocate(candidates, chosen, from_teacher(chosen), gaps, reasons), {}


@ALLOCATORS.register(
    "rho_loss",
    options=Budgeted,
    paper="arXiv 2206.07137",
    status="our reading",
    needs=needs(CONFIDENT, {Verb.JUDGE}),
)
class RhoLoss(Memoryless):
    """The teacher's paths that the student finds less likely than the teacher does, by far first: reducible loss.

    L(path; student) − L(path; reference), where the paper's reference is a model that was trained on held-out data.
    Here it is the teacher on what it wrote itself, and losses are in nats per byte, so that tokenizers do not matter
    (our reading). Nearly every path has some; so give it a budget, of which the paper takes a tenth.
    """

    options: Budgeted

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        gaps = _gaps(candidates, candidates.student_on_teacher)
        chosen = top(gaps, gaps > 0, self.options.limit(len(gaps)))
        reasons = dict.fromkeys(chosen, "likelier to the teacher than to the student")
        return state, allocate(candidates, chosen, from_teacher(chosen), gaps, reasons), {}


@ALLOCATORS.register("winner", options=Budgeted, status="our reading", needs=COMPARING)
class Winner(Memoryless):
    """No gold answers: where the two answers differ, the path of the party whose least sure token is surer.

    A path without an answer never wins.
    """

    options: Budgeted

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply. Under a budget the teacher's wins come first, the surest before; a tie is the student's.

        The student's own wins only fill what is left, else a sure student would spend the whole budget on itself.
        """
        teacher, student = sureness(candidates.teacher_paths), sureness(candidates.student_paths)
        teacher_wins = teacher > student
        scores = np.where(teacher_wins, teacher, student)
        allowed = ~same_answers(candidates) & np.isfinite(scores)
        chosen = [*top(scores, allowed & teacher_wins, None), *top(scores, allowed & ~teacher_wins, None)]
        chosen = chosen[: self.options.limit(len(scores))]
        sources: dict[int, Source] = {i: "teacher" if teacher_wins[i] else "student" for i in chosen}
        reasons = {i: f"answers differ and the {sources[i]} is surer" for i in chosen}
        return state, allocate(candidates, chosen, sources, scores, reasons), {}


@ALLOCATORS.register("verified", options=Budgeted, status="our reading", needs=needs({Verb.ANSWER}, own_paths=True))
class Verified(Memoryless):
    """Gold answers: for every question that at least one party gets right, the path of a party that is right.

    Where both are right the teacher's path is taken. Under a budget the teacher's paths come first and the student's
    own fill what is left; within each, questions are drawn at random.
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


@ALLOCATORS.register("teachable", options=Budgeted, status="our reading", needs=COMPARING)
class Teachable(Memoryless):
    """What LaDa's filter starts from, without anything learnt: the teacher alone is right, and its loss is the lower.

    Where no gold answers are known the loss alone decides, as in `dual_min_ce`, but that a path without an answer is
    never learnt. Under a budget questions are drawn at random.
    """

    options: Budgeted

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        scores = prior_reward(candidates, gold=True)
        order = generator(candidates.seed, "teachable").permutation(len(scores))
        chosen = [int(i) for i in order if scores[i] == 1][: self.options.limit(len(scores))]
        reasons = dict.fromkeys(chosen, "new to the student, and the teacher's loss is the lower")
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {}


def _gaps(candidates: Candidates, students: Sequence[Likelihood]) -> np.ndarray:
    """Return how far losses of `students` are above those of the teacher on its own paths [n], nats per byte."""
    paths = zip(candidates.teacher_paths, students, strict=True)
    return np.array([student.per_byte - path.likelihood.per_byte for path, student in paths])
