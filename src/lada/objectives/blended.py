"""What objectives have in common that blend the labels' loss with one from a teacher's probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import model_validator

from lada.core.bounds import SLIGHTEST, STEEPEST
from lada.core.registry import Options
from lada.models.objective import Scored, nll

if TYPE_CHECKING:
    from torch import Tensor


class Blended(Options):
    """`loss = λ NLL + (1 - λ) other`, both as means over the batch's tokens."""

    label_weight: float
    """λ from 0 to 1."""
    temperature: float
    """Above 0, 1000 at most: the probabilities are taken to the power of its inverse."""

    @model_validator(mode="after")
    def _sound(self) -> Blended:
        if not 0 <= self.label_weight <= 1:
            raise ValueError(f"label_weight is {self.label_weight}; expected 0 to 1")
        if not SLIGHTEST <= self.temperature <= STEEPEST:
            raise ValueError(
                f"temperature is {self.temperature}; expected a number above 0, {SLIGHTEST:g} to {STEEPEST}"
            )
        return self

    def blend(self, scored: Scored, other: Tensor, rows: Tensor) -> Tensor:
        """Return the loss of a micro-batch: `other` [p] is one loss per place, of lesson `rows` [p], nats."""
        weighted = (other * scored.weights[rows]).sum() / (scored.batch_tokens or 1.0)
        return self.label_weight * nll(scored) + (1 - self.label_weight) * weighted
