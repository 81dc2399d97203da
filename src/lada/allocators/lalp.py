"""Local average log-probability (arXiv 2510.03988): is each step of a path likely after the few steps before it?

    LALP = mean over steps of the mean log-prob of a step's tokens, given the `window` preceding steps

under the student; higher is better. We know the abstract and summaries. They report that steps, such as sentences, are
scored after a small local window, that scores are averaged, and that the most natural paths are taken. We do not know
the paper's window, or whether it includes the question. Here the window is one step by default, after the question, as
in all that a student reads.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import RuleOptions, allocate, from_teacher, top
from lada.core.needs import needs
from lada.core.terms import TokenScores, Verb
from lada.tasks.steps import steps_of


class LalpOptions(RuleOptions):
    """Options of local average log-probability."""

    window: int = Field(1, ge=0, le=1_000_000)
    """Number of preceding steps that the student sees in addition to the question."""
    over: Literal["mean", "hardest"] = "mean"
    """Score a path by the mean over its steps, as in the paper, or by the step that the student finds hardest."""


@ALLOCATORS.register(
    "lalp",
    options=LalpOptions,
    paper="arXiv 2510.03988",
    status="our reading",
    needs=needs({Verb.ANSWER}, {Verb.LOG_PROBS}),
    tags=("labels", "feedback"),
)
class Lalp(Memoryless):
    """The teacher's paths whose steps the student finds likely after the steps just before them.

    The paper takes the best of several teachers' paths of one question. Here all paths of one teacher are compared with
    each other (our reading). Without a budget, every path that the student can trace is taken. Each step is read
    together with its window, so a path costs about 1 + `window` forward passes of its own length.
    """

    options: LalpOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply."""
        windows = [
            (place, *each)
            for place, path in enumerate(candidates.teacher_paths)
            for each in local_steps(path.text, self.options.window)
        ]
        found = candidates.score([(place, text) for place, _, text in windows])
        steps: list[list[float]] = [[] for _ in candidates.teacher_paths]
        for (place, start, text), scores in zip(windows, found, strict=True):
            steps[place].append(step_log_prob(scores, start, len(text.encode())))
        over = np.mean if self.options.over == "mean" else np.min
        scores = np.array([float(over(each)) if each else np.nan for each in steps])
        allowed = np.isfinite(scores) & self.options.may_take(candidates.teacher_paths)
        chosen = top(scores, allowed, self.options.limit(len(scores)))
        reasons = dict.fromkeys(chosen, "each step is likely for the student, given the steps just before it")
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {}


def local_steps(text: str, window: int) -> Iterator[tuple[int, str]]:
    """Yield each step of a path after its window: the UTF-8 byte at which it begins, and both as one text."""
    steps = [step for _, step in steps_of(text)]
    for number, step in enumerate(steps):
        before = "".join(steps[max(0, number - window) : number])
        yield len(before.encode()), before + step


def step_log_prob(scores: TokenScores | None, start: int, end: int) -> float:
    """Return the mean log-prob of the tokens that begin within the bytes `start` to `end`, nats; NaN if there are none.

    The end-of-text token counts as a byte after the text, so it belongs to no step.
    """
    if scores is None:
        return float("nan")
    within = (scores.offsets[:, 0] >= start) & (scores.offsets[:, 0] < end)
    return float(scores.own()[within].astype(np.float64).mean()) if within.any() else float("nan")
