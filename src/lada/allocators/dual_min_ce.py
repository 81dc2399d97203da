"""FedMKT's selection (arXiv 2406.02224): samples on which the teacher's loss is lower."""

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import CONFIDENT, Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate, from_teacher, gaps_of, top
from lada.core.needs import needs


@ALLOCATORS.register(
    "dual_min_ce",
    options=RuleOptions,
    paper="arXiv 2406.02224",
    needs=needs(CONFIDENT, CONFIDENT),
    tags=("labels", "feedback"),
)
class DualMinCE(Memoryless):
    """FedMKT's selection for one pair: samples on which the teacher's loss is below the student's own.

    Losses are of each party's own path, in nats per byte, so that tokenizers do not matter. The host's fuser chooses
    among several teachers. With a budget, samples with larger gaps come first (our reading; the paper has no budget).
    """

    options: RuleOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        gaps = gaps_of(candidates, [path.likelihood for path in candidates.student_paths])
        allowed = (gaps > 0) & self.options.may_take(candidates.teacher_paths)
        chosen = top(gaps, allowed, self.options.limit(len(gaps)))
        reasons = dict.fromkeys(chosen, "the teacher's loss is below the student's")
        return state, allocate(candidates, chosen, from_teacher(chosen), gaps, reasons), {}
