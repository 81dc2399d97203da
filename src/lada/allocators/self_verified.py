"""Self-training on verified paths: the student's own right answers."""

import operator

from pydantic import Field

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate
from lada.core.needs import needs
from lada.core.seeds import generator
from lada.core.terms import Source, Verb


class SelfVerifiedOptions(RuleOptions):
    """Options of self-training."""

    gold: bool = True
    """Read which answers are right, and never take a path known to be wrong. Otherwise the student trains on every path
    that ends in an answer."""
    taught: int = Field(0, ge=0, le=1_000_000, exclude_if=operator.not_)
    """Number of first rounds in which the student studies the teacher's paths, and none of its own: a warm start."""


@ALLOCATORS.register(
    "self_verified",
    options=SelfVerifiedOptions,
    paper="arXiv 2606.16152",
    status="our reading",
    needs=needs({Verb.ANSWER}, {Verb.ANSWER}, own_paths=True),
    by_order="places are drawn, not ids",
    tags=("feedback", "self-knowledge"),
)
class SelfVerified(Memoryless):
    """The student's own right paths and none of the teacher's: a control without any teacher.

    With a host's option `tries`, a party samples a question again until its answer is right (rejection sampling, arXiv
    2308.01825). Of the paper we know only by hearsay that students study their own verified traces. With a budget,
    questions are drawn at random. With `taught`, the teacher gives a start, and is not heard again.
    """

    options: SelfVerifiedOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        source: Source = "teacher" if candidates.round <= self.options.taught else "student"
        paths = candidates.teacher_paths if source == "teacher" else candidates.student_paths
        allowed = self.options.may_take(paths)
        order = generator(candidates.seed, "self_verified").permutation(len(paths))
        drawn = [int(i) for i in order if allowed[i] and paths[i].answer is not None]
        chosen = drawn[: self.options.limit(len(paths))]
        whose = {"teacher": "the teacher's", "student": "the student's own"}[source]
        reasons = {i: f"{whose}, and right" if paths[i].right else whose for i in chosen}
        return state, allocate(candidates, chosen, dict.fromkeys(chosen, source), None, reasons), {}
