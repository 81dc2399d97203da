"""Plain supervised fine-tuning."""

from torch import Tensor

from lada.core.registry import Options
from lada.core.terms import Verb
from lada.models.objective import Prefer, Scored, SoftWish, Unpaired, nll
from lada.objectives.base import OBJECTIVES


@OBJECTIVES.register("sft", student_needs={Verb.STUDY})
class Sft:
    """Negative log-likelihood of the chosen path."""

    contrasts = False
    reference = False
    soft: SoftWish | None = None
    prefer: Prefer | None = None
    unpaired: Unpaired = "nll"

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective: mean over the batch's answer tokens, nats."""
        return nll(scored)
