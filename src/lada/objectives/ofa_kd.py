"""OFA-KD: exits at several depths of a student predict tokens, whatever its architecture and the teacher's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, model_validator

from lada.core.bounds import SLIGHTEST, STEEPEST
from lada.core.needs import Needs, State
from lada.models.objective import Objective, Scored, Sizes, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.divergences import categories, tempered
from lada.objectives.top_k import TopK, asks, batch_mean, gold_category

if TYPE_CHECKING:
    from torch import Tensor

MOST_EXITS = 8


class OfaKdOptions(TopK):
    """`loss = label_weight · NLL + last_weight · L(student) + exit_weight · Σ over exits of L(exit)`.

    The weights, ε and T have the defaults of the authors' code.
    """

    depths: tuple[float, ...] = (0.25, 0.5, 0.75)
    """Where the exits are, as shares of the student's layers: up to 8 numbers between 0 and 1, in ascending order. An
    empty list leaves the loss of the last layer."""
    epsilon: float = Field(default=1.0, ge=1, le=10, allow_inf_nan=False)
    """ε, from 1 to 10: how strongly the true token is enhanced. At 1, L is cross-entropy to the teacher. The paper has
    1 on CIFAR-100 and 1.5 on ImageNet."""
    temperature: float = Field(default=1.0, ge=SLIGHTEST, le=STEEPEST, allow_inf_nan=False)
    """T, on both sides, above 0 and at most 1000. There is no factor T²."""
    label_weight: float = Field(default=1.0, ge=0, le=STEEPEST, allow_inf_nan=False)
    """Weight of the NLL of the text, at least 0."""
    last_weight: float = Field(default=1.0, ge=0, le=STEEPEST, allow_inf_nan=False)
    """Weight of L of the student's own prediction, at least 0."""
    exit_weight: float = Field(default=1.0, ge=0, le=STEEPEST, allow_inf_nan=False)
    """Weight of L of each exit, at least 0."""

    @model_validator(mode="after")
    def _ascending(self) -> OfaKdOptions:
        inside = all(0 < depth < 1 for depth in self.depths)
        if not inside or list(self.depths) != sorted(set(self.depths)) or len(self.depths) > MOST_EXITS:
            raise ValueError(
                f"depths is {list(self.depths)}; expected at most {MOST_EXITS} numbers between 0 and 1, ascending"
            )
        return self


def needs(options: OfaKdOptions) -> Needs:
    """Return what both parties must be able to do."""
    return asks(options, gold=True, exits=options.depths, read_out=bool(options.depths))


@OBJECTIVES.register(
    "ofa_kd",
    options=OfaKdOptions,
    paper="arXiv 2310.19444",
    status="our reading",
    level="code read",
    needs=needs,
    tags=("labels", "feature", "supervised", "divergence"),
)
class OfaKd(Objective):
    """Cross-entropy to the teacher with the true token enhanced, for the student and for exits at its depths.

    With the teacher's probabilities p, those of the student or of an exit q, and m = 1 for the true token, else 0:

        L = -Σ_c ((p_c + m_c)^ε - m_c) log q_c

    Loss and weights follow the authors' code (Hao840/OFAKD). Its exits are small networks with an
    output layer each. Ours are smaller, since a vocabulary is large: the hidden states are scaled to a root mean square
    of 1 and pass through a trained square matrix, which begins as the identity, and through the student's own output
    head. The matrices are part of the state; an exported student has none of them. Ours too: the tail is one more
    category, and holds the true token if the teacher does not name it.
    """

    options: OfaKdOptions

    def __init__(self, options: OfaKdOptions) -> None:
        super().__init__(options)
        self.trained = tuple(_name(depth) for depth in options.depths)

    def init(self, seed: int, sizes: Sizes | None = None) -> State:
        """See Objective.init."""
        width, head = (sizes.width, sizes.head or sizes.width) if sizes else (1, 1)
        return {name: np.eye(width, head, dtype=np.float32) for name in self.trained}

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        labels = self.options.label_weight * nll(scored)
        soft = scored.soft
        if soft is None:
            return labels
        gold, used = gold_category(soft), ~soft.teacher.isneginf()

        def loss(log_probs: Tensor) -> Tensor:
            """Return L [p] of log-probs [p, k] of the named tokens."""
            teacher, student = (
                tempered(side, self.options.temperature) for side in categories(soft.teacher, log_probs, used)
            )
            return enhanced(teacher, student, gold, self.options.epsilon)

        each = self.options.last_weight * loss(soft.student)
        for depth in self.options.depths:
            states = scored.hidden[depth][soft.rows, soft.columns].float()
            states = states * (states.square().mean(1, keepdim=True) + 1e-6).rsqrt()
            exit = scored.read_out(states @ scored.parameters[_name(depth)], soft.ids)
            each = each + self.options.exit_weight * loss(exit)
        return labels + batch_mean(scored, soft, each)


def enhanced(teacher: Tensor, student: Tensor, gold: Tensor, epsilon: float) -> Tensor:
    """Return L [p] of log-probs [p, c], nats, whose true category is `gold` [p]."""
    import torch

    true = torch.zeros_like(teacher).scatter(1, gold[:, None], 1.0)
    return -(((teacher.exp() + true) ** epsilon - true) * student).sum(1)


def _name(depth: float) -> str:
    return f"exit_{depth:g}"
