"""Length: rules that look only at the length of a path, yet are hard to beat."""

import numpy as np

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate, from_teacher, top
from lada.core.needs import needs
from lada.core.terms import Verb


class ByLength(Memoryless):
    """Base of both rules. Paths are measured in bytes, so that tokenizers do not matter."""

    options: RuleOptions
    sign: int
    """1 for the longest first, -1 for the shortest."""
    why: str

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        sizes = [len(path.text.encode()) for path in candidates.teacher_paths]  # real ones, not claims
        scores = self.sign * np.array(sizes, dtype=np.float64)
        allowed = self.options.may_take(candidates.teacher_paths)
        chosen = top(scores, allowed, self.options.limit(len(scores)))
        reasons = dict.fromkeys(chosen, self.why)
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {}


@ALLOCATORS.register(
    "longest",
    options=RuleOptions,
    paper="arXiv 2402.04833",
    status="our reading",
    needs=needs({Verb.ANSWER}),
    tags=("labels",),
)
class Longest(ByLength):
    """The teacher's longest paths, a baseline that is hard to beat in instruction tuning.

    The paper takes the 1,000 longest answers of a data set, counted in tokens. Here they are counted in bytes.
    """

    sign, why = 1, "among the longest paths"


@ALLOCATORS.register(
    "shortest",
    options=RuleOptions,
    paper="arXiv 2501.12599",
    status="our reading",
    needs=needs({Verb.ANSWER}),
    tags=("labels",),
)
class Shortest(ByLength):
    """The teacher's shortest paths, as in shortest rejection sampling; set `gold` to take right ones only.

    The paper samples a question several times and takes the shortest right answer. Here a teacher offers one path per
    question, so all paths are compared (our reading).
    """

    sign, why = -1, "among the shortest paths"
