"""LaDa's filter: a student's own path comes before the teacher's if its answer counts as right.

One filter serves one (teacher, student) pair in one direction. For each public question it takes

1. the student's own path if its answer counts as right;
2. otherwise the teacher's path if its answer counts as right.

With `adapt`, the LLM uses the other order: a client's right path comes before its own. So it learns to write as its
clients do, and they may follow such paths more easily.

The gold answer says what is right. If it is unknown or must not be read, an answer counts as right if both parties give
it or if the teacher is trusted. The filter only sees answers. It cannot tell whether the steps of a path are right,
or whether the student can follow them.

A teacher's path may be right and yet skip a step that this student does not know. Neither the answer nor the student's
likelihood of the path shows that. The student answers all questions again in each round, and a path of its own replaces
the teacher's as soon as its answer counts as right.

Source: arXiv 2602.18749 for a filter for each pair and direction that chooses what the student can learn. The rule is
ours. Studying one's own verified paths is the idea of STaR (arXiv 2203.14465), which uses a hint instead of a teacher.
The paper's own form, in our reading, is `lada_paper`.
"""

import operator

import numpy as np
from pydantic import Field

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.features import promising
from lada.allocators.memoryless import COMPARING, Memoryless, Outcome
from lada.allocators.selection import Budgeted, allocate, same_answers
from lada.core.seeds import generator
from lada.core.terms import Allocation, Source


class LadaOptions(Budgeted):
    """Options of LaDa's filter."""

    gold: bool = True
    """Read the gold answers of public samples: a path is right if its answer is. Without gold answers, a student's path
    counts as right if both parties give the same answer."""
    vouch: float = Field(0.8, ge=0, le=1)
    """For samples without gold answers. A teacher that agrees with more than this share of the student's most confident
    paths (a tenth of all) is trusted on all samples. 1: no teacher is, and FedMKT's rule applies."""
    adapt: bool = Field(False, exclude_if=operator.not_)
    """At the server: prefer a client's path where both count as right, so that the LLM learns to write as clients do.
    Otherwise the LLM prefers its own path, as every student does."""


def reached(candidates: Candidates, *, gold: bool) -> np.ndarray:
    """Return [n] bool: whether the answer of the student's own path counts as right.

    If its verdict is unknown or must not be read, the answer counts as right if the teacher gives it too, unless the
    teacher's is known to be wrong. An empty path never counts.
    """
    wrong = np.array([gold and path.right is False for path in candidates.teacher_paths], dtype=bool)
    written = np.array([bool(path.text) for path in candidates.student_paths], dtype=bool)
    verdicts = [path.right if gold else None for path in candidates.student_paths]
    return _where_known(verdicts, same_answers(candidates) & ~wrong) & written


def teachable(candidates: Candidates, *, gold: bool, vouch: float) -> np.ndarray:
    """Return [n] bool: whether the teacher's path is right or, where that is unknown, trusted or agreed on."""
    trusted = promising(candidates, gold=gold, vouch=vouch) | same_answers(candidates)
    return _where_known([path.right if gold else None for path in candidates.teacher_paths], trusted)


def _where_known(verdicts: list[bool | None], otherwise: np.ndarray) -> np.ndarray:
    pairs = zip(verdicts, otherwise, strict=True)
    return np.array([other if verdict is None else verdict for verdict, other in pairs], dtype=bool)


def reachable(
    candidates: Candidates, own: np.ndarray, taught: np.ndarray, budget: Budgeted, scores: np.ndarray | None = None
) -> tuple[Allocation, dict[str, float]]:
    """Return the student's paths at `own` [n] bool, else the teacher's at `taught` [n] bool, and diagnostics.

    With a budget, questions are drawn at random.
    """
    order = generator(candidates.seed, "lada").permutation(len(own))
    chosen = [int(i) for i in order if own[i] or taught[i]][: budget.limit(len(own))]
    sources: dict[int, Source] = {i: "student" if own[i] else "teacher" for i in chosen}
    why = {
        "student": "the student's own answer counts as right",
        "teacher": "only the teacher's answer counts as right",
    }
    reasons = {i: why[source] for i, source in sources.items()}
    diagnostics = {"own": float(own[chosen].mean()) if chosen else 0.0}
    return allocate(candidates, chosen, sources, scores, reasons), diagnostics


class Reachable(Memoryless):
    """The student's own path if its answer counts as right, otherwise the teacher's if that does."""

    options: LadaOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply. With a budget, questions are drawn at random."""
        taught = teachable(candidates, gold=self.options.gold, vouch=self.options.vouch)
        return state, *reachable(candidates, self.own(candidates), taught, self.options)

    def own(self, candidates: Candidates) -> np.ndarray:
        """Return [n] bool: whether the student's own path is preferred."""
        own = reached(candidates, gold=self.options.gold)
        if self.options.adapt and candidates.role == "server":
            return own & ~teachable(candidates, gold=self.options.gold, vouch=self.options.vouch)
        return own


@ALLOCATORS.register(
    "lada",
    options=LadaOptions,
    paper="arXiv 2602.18749",
    status="our reading",
    needs=COMPARING,
    by_order="places are drawn",
    tags=("labels", "feedback", "self-knowledge", "reinforcement"),
)
class Lada(Reachable):
    """The student's own path if its answer counts as right, otherwise the teacher's if that does."""
