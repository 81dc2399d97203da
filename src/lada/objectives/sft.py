"""Plain supervised fine-tuning."""

from torch import Tensor

from lada.core.registry import Options
from lada.core.terms import Verb
from lada.models.objective import Scored, nll
from lada.objectives.base import OBJECTIVES, AsAllocated


@OBJECTIVES.register("sft", student_needs={Verb.STUDY})
class Sft(AsAllocated):
    """Negative log-likelihood of the chosen path."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective: mean over the batch's answer tokens, nats."""
        return nll(scored)
