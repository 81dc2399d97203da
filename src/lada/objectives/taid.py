"""TAID: a target that moves from the student's own distribution to the teacher's as the student learns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from pydantic import model_validator

from lada.core.bounds import Share
from lada.core.needs import Needs, State
from lada.models.objective import Done, Objective, Scored, Sizes, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.divergences import cross_entropy
from lada.objectives.top_k import TopK, asks, blend, sides

if TYPE_CHECKING:
    from torch import Tensor


class TaidOptions(TopK):
    """`loss = λ NLL + (1 - λ) CE(p_t, q)` at positions with a soft target, and NLL elsewhere.

    The defaults of `start`, `end`, `step_size` and `momentum` are those of the authors' code.
    """

    label_weight: Share = 0.0
    """λ, from 0 to 1."""
    start: Share = 0.4
    """t before the first step, from 0 to 1. At 0, the target is the student's own distribution."""
    end: Share = 1.0
    """The last t, from `start` to 1. At 1, the target is the teacher's distribution."""
    step_size: Share = 5e-4
    """α, from 0 to 1: by how much t may move in one step ahead of the straight line from `start` to `end`."""
    momentum: Share = 0.99
    """β, from 0 to 1: the share of the past in the average of the loss's relative changes."""
    adaptive: bool = True
    """Let a falling loss move t ahead of the straight line. Otherwise t follows the line."""

    @model_validator(mode="after")
    def _forward(self) -> TaidOptions:
        if self.start > self.end:
            raise ValueError(f"start is {self.start} and end is {self.end}; expected a start of at most end")
        return self


def needs(options: TaidOptions) -> Needs:
    """Return what both parties must be able to do."""
    return asks(options, observes=True)


@OBJECTIVES.register(
    "taid",
    options=TaidOptions,
    paper="arXiv 2501.16937",
    status="our reading",
    level="code read",
    needs=needs,
    tags=("labels", "feature", "supervised", "divergence"),
)
class Taid(Objective):
    """Cross-entropy to a blend of student and teacher that moves to the teacher over the run.

    The blend is `p_t = softmax((1 - t) sg(z_S) + t z_T)` with logits `z` and a stopped gradient `sg`. After each step,
    with the loss `L` of that step and `s` the share of the run's steps taken:

        m ← β m + (1 - β) (L_before - L) / L_before
        t ← min(end, max(start + (end - start) s, t + α σ(m) (1 - t)))

    We follow the authors' code (SakanaAI/TAID). `L` is the cross-entropy to `p_t`. Ours: the
    tail is one more category; t, m and L belong to the student and continue in the next round; s counts the steps of
    the whole run.
    """

    options: TaidOptions

    def init(self, seed: int, sizes: Sizes | None = None) -> State:
        """See Objective.init. The loss before the first step is unknown."""
        return {"t": np.array(self.options.start), "m": np.array(0.0), "loss": np.array(math.inf)}

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        if scored.soft is None:
            return nll(scored)
        teacher, student = sides(scored.soft)
        t = float(scored.state["t"])
        target = ((1 - t) * student.detach() + t * teacher).log_softmax(1)
        each, weights = cross_entropy(target, student), scored.weights[scored.soft.rows]
        scored.observe("loss", (each * weights).sum())
        scored.observe("weight", weights.sum())
        return blend(scored, scored.soft, each, self.options.label_weight)

    def after_step(self, state: State, done: Done) -> State:
        """See Objective.after_step. Steps without soft targets change nothing; the first one shows the loss only."""
        if not done.observed.get("weight", 0):
            return state
        loss, before = float(done.observed["loss"] / done.observed["weight"]), float(state["loss"])
        if math.isinf(before):
            return {**state, "loss": np.array(loss)}
        change = (before - loss) / (before + 1e-15)
        m = self.options.momentum * float(state["m"]) + (1 - self.options.momentum) * change
        t = self._moved(float(state["t"]), m, (done.run_step + 1) / done.run_steps)
        return {"t": np.array(t), "m": np.array(m), "loss": np.array(loss)}

    def _moved(self, t: float, m: float, progress: float) -> float:
        options = self.options
        line = options.start + (options.end - options.start) * progress
        sigmoid = (1 + math.tanh(m / 2)) / 2  # it cannot overflow
        ahead = t + options.step_size * sigmoid * (1 - t) if options.adaptive else t
        return min(options.end, max(line, ahead))
