"""Objectives from outside the package, each of which asks for something else of the contract."""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lada.core.needs import Needs, SignalSpec, State
from lada.core.registry import Options
from lada.core.terms import Verb
from lada.models.objective import Done, Objective, Scored, Sizes, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.divergences import categories

STUDY = frozenset({Verb.STUDY})


class Smoothing(Options):
    """Options of label smoothing."""

    smoothing: float = Field(default=0.1, ge=0, le=1)
    """The mass that all tokens share."""


def mean_over_tokens(scored: Scored, each: Tensor) -> Tensor:
    """Return the mean of numbers [n, L] over a batch's tokens, each lesson by its weight."""
    return (each.sum(1) * scored.weights).sum() / (scored.batch_tokens or 1.0)


@OBJECTIVES.register(
    "label_smoothing", options=Smoothing, paper="arXiv 1512.00567", needs=Needs(student=STUDY, dense=True)
)
class LabelSmoothing(Objective):
    """Negative log-likelihood, with a share of the target spread over the vocabulary."""

    options: Smoothing

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        spread = mean_over_tokens(scored, scored.over_vocabulary(lambda log_probs: -log_probs.mean(1)))
        return (1 - self.options.smoothing) * nll(scored) + self.options.smoothing * spread


class Bonus(Options):
    """Options of the entropy bonus."""

    weight: float = Field(default=0.01, ge=0)
    """What a nat of entropy is worth."""


@OBJECTIVES.register("entropy_bonus", options=Bonus, paper="arXiv 1701.06548", needs=Needs(student=STUDY, dense=True))
class EntropyBonus(Objective):
    """Negative log-likelihood minus the entropy of the student's distributions."""

    options: Bonus

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        entropy = scored.over_vocabulary(lambda log_probs: -(log_probs.exp() * log_probs).sum(1))
        return nll(scored) - self.options.weight * mean_over_tokens(scored, entropy)


@OBJECTIVES.register(
    "moving_blend",
    needs=Needs(frozenset({Verb.LOG_PROBS}), STUDY, SignalSpec(4, "offsets"), observes=True),
)
class MovingBlend(Objective):
    """Cross-entropy to a blend of both parties' distributions, which moves to the teacher's as the two part."""

    def init(self, seed: int, sizes: Sizes | None = None) -> State:
        """See Objective.init."""
        return {"blend": np.array(0.5), "moved": np.array(0)}

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        if scored.soft is None:
            return nll(scored)
        teacher, student = categories(scored.soft.teacher, scored.soft.student, ~scored.soft.teacher.isneginf())
        blend = float(scored.state["blend"])
        target = blend * teacher.exp() + (1 - blend) * student.detach().exp()
        apart = 0.5 * (teacher.exp() - student.exp()).abs().sum(1)  # total variation, 0..1
        scored.observe("apart", apart.sum())
        scored.observe("positions", torch.tensor(float(len(apart))))
        gap = -(target * student).sum(1) * scored.weights[scored.soft.rows]
        return 0.5 * nll(scored) + 0.5 * gap.sum() / (scored.batch_tokens or 1.0)

    def after_step(self, state: State, done: Done) -> State:
        """See Objective.after_step."""
        if "apart" not in done.observed:
            return state
        apart = done.observed["apart"] / done.observed["positions"]
        return {"blend": 0.9 * state["blend"] + 0.1 * apart, "moved": state["moved"] + 1}


@OBJECTIVES.register("risk_variance", paper="arXiv 2003.00688", needs=Needs(student=STUDY, couples_batch=True))
class RiskVariance(Objective):
    """Negative log-likelihood plus the variance of the lessons' own losses over the batch (V-REx)."""

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        losses = -scored.log_probs.sum(1) / scored.mask.sum(1)
        return nll(scored) + losses.var(unbiased=False)


@OBJECTIVES.register("two_depths", needs=Needs(student=STUDY, exits=(0.5, 1.0)))
class TwoDepths(Objective):
    """Negative log-likelihood, and a linear probe at half depth, trained with the model, that predicts the top."""

    trained = ("probe",)

    def init(self, seed: int, sizes: Sizes | None = None) -> State:
        """See Objective.init."""
        width = sizes.width if sizes else 1
        return {"probe": np.random.default_rng(seed).normal(0, 0.1, (width, width)).astype(np.float32)}

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        middle, top = scored.hidden[0.5], scored.hidden[1.0].detach()
        return nll(scored) + mean_over_tokens(scored, (middle @ scored.parameters["probe"] - top).square().mean(2))


@OBJECTIVES.register("held_out_check", needs=Needs(student=STUDY, held_out=0.25))
class HeldOutCheck(Objective):
    """Negative log-likelihood, and half of that of lessons that are held out."""

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        return nll(scored) + (0.5 * nll(scored.held_out) if scored.held_out is not None else 0.0)
