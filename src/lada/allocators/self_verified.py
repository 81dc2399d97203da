"""Self-training on verified paths: the student's own right answers."""

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
    questions are drawn at random.
    """

    options: SelfVerifiedOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        own = candidates.student_paths
        allowed = self.options.may_take(own)
        order = generator(candidates.seed, "self_verified").permutation(len(own))
        drawn = [int(i) for i in order if allowed[i] and own[i].answer is not None]
        chosen = drawn[: self.options.limit(len(own))]
        sources: dict[int, Source] = dict.fromkeys(chosen, "student")
        reasons = {i: "the student's own, and right" if own[i].right else "the student's own" for i in chosen}
        return state, allocate(candidates, chosen, sources, None, reasons), {}
