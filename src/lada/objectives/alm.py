"""Approximate likelihood matching: find each chunk of a text as likely as the teacher does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lada.core.needs import Needs, SignalSpec
from lada.core.terms import Verb
from lada.models.objective import Objective, Scored, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.blended import Blended
from lada.objectives.forms import log1mexp

if TYPE_CHECKING:
    from torch import Tensor


class AlmOptions(Blended):
    """`loss = λ NLL + (1 - λ) Σ over chunks of the binary cross-entropy of p^(1/τ)`, over the batch's tokens.

    A chunk is a stretch of text between boundaries that both tokenizers share. `p` is a party's probability of the
    chunk's bytes, given the preceding text.
    """

    label_weight: float = 0.5
    """λ, from 0 to 1."""
    temperature: float = 100.0
    """τ. Larger values compare log-probs rather than probabilities."""
    alignment: Literal["offsets", "mined"] = "offsets"
    """How tokens of two tokenizers are matched."""


def asks(options: AlmOptions) -> Needs:
    """Return what both parties must be able to do."""
    signal = SignalSpec(1, options.alignment, as_chunks=True)
    return Needs(frozenset({Verb.LOG_PROBS}), frozenset({Verb.STUDY}), signal)


@OBJECTIVES.register(
    "alm",
    options=AlmOptions,
    paper="arXiv 2503.20083",
    status="our reading",
    needs=asks,
    tags=("labels", "feature", "supervised", "divergence"),
)
class Alm(Objective):
    """Negative log-likelihood of the text plus the gap to the teacher's likelihood of each chunk."""

    options: AlmOptions

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective. A lesson's weight applies to its chunks too."""
        if scored.chunks is None:
            return self.options.label_weight * nll(scored)
        gaps = chunk_loss(scored.chunks.teacher, scored.chunks.student, self.options.temperature)
        return self.options.blend(scored, gaps, scored.chunks.rows)


def chunk_loss(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return the binary cross-entropy between p^(1/τ) and q^(1/τ) of log-probs [c], nats [c] (arXiv 2503.20083).

    Its minimum, the entropy of p^(1/τ), is reached where both are equal.
    """
    log_p, log_q = teacher / temperature, student / temperature
    return -(log_p.exp() * log_q + log1mexp(log_p).exp() * log1mexp(log_q))
