"""Reducible holdout loss (arXiv 2206.07137): what the student could know but does not."""

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import CONFIDENT, Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate, from_teacher, gaps_of, top
from lada.core.needs import needs
from lada.core.terms import Verb


@ALLOCATORS.register(
    "rho_loss",
    options=RuleOptions,
    paper="arXiv 2206.07137",
    status="our reading",
    needs=needs(CONFIDENT, {Verb.JUDGE}),
    tags=("labels", "feedback"),
)
class RhoLoss(Memoryless):
    """The teacher's paths with the highest reducible loss: much less likely to the student than to the teacher.

    It is L(path; student) − L(path; reference). The paper's reference is a model trained on held-out data. Here it is
    the teacher on its own path, and losses are in nats per byte, so that tokenizers do not matter (our reading). Nearly
    every path has some reducible loss, so set a budget; the paper takes a tenth.
    """

    options: RuleOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        gaps = gaps_of(candidates, candidates.student_on_teacher)
        allowed = (gaps > 0) & self.options.may_take(candidates.teacher_paths)
        chosen = top(gaps, allowed, self.options.limit(len(gaps)))
        reasons = dict.fromkeys(chosen, "likelier to the teacher than to the student")
        return state, allocate(candidates, chosen, from_teacher(chosen), gaps, reasons), {}
