"""Plain supervised fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lada.core.needs import needs
from lada.core.terms import Verb
from lada.models.objective import Objective, Scored, nll
from lada.objectives.base import OBJECTIVES

if TYPE_CHECKING:
    from torch import Tensor


@OBJECTIVES.register("sft", needs=needs(student={Verb.STUDY}), tags=("labels", "supervised"))
class Sft(Objective):
    """Negative log-likelihood of the chosen path."""

    plain = True

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective: the mean over the batch's answer tokens, in nats."""
        return nll(scored)
