"""The base of objectives that blend the labels' loss with a loss from a teacher's probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import model_validator

from lada.core.bounds import SLIGHTEST, STEEPEST
from lada.core.registry import Options
from lada.models.objective import Scored, nll

if TYPE_CHECKING:
    from torch import Tensor


class Blended(Options):
    """`loss = λ NLL + (1 - λ) other`, both averaged over the batch's tokens."""

    label_weight: float
    """λ, from 0 to 1."""
    temperature: float
    """The probabilities are raised to the power 1 / temperature. It must be above 0 and at most 1000."""

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
        """Return the loss of a micro-batch. `other` [p] has one loss per position, nats; `rows` [p] are its lessons."""
        weighted = (other * scored.weights[rows]).sum() / (scored.batch_tokens or 1.0)
        return self.label_weight * nll(scored) + (1 - self.label_weight) * weighted
