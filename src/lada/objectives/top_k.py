"""The base of objectives that learn from a teacher's k likeliest tokens at each position."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from lada.core.bounds import MOST_K
from lada.core.needs import Needs, SignalSpec
from lada.core.registry import Options
from lada.core.terms import Verb
from lada.models.objective import Chunks, Scored, Soft, nll
from lada.objectives.divergences import categories, tempered

if TYPE_CHECKING:
    from torch import Tensor


class TopK(Options):
    """Which tokens a teacher names at each position of a text, and how they reach a student's tokens."""

    k: int = 32
    """Number of tokens per position that a teacher sends. Fewer cost less traffic."""
    alignment: Literal["offsets", "mined"] = "offsets"
    """How tokens of two tokenizers are matched: by shared byte boundaries, or by the paper's dynamic programming."""
    inside: Literal["mask", "one_hot"] = "mask"
    """A position inside a longer token of the teacher has no soft target (`mask`), or its own token as in the paper."""

    shuffled: bool = Field(default=False, exclude_if=operator.not_)
    """A control for benchmarks: each position gets the soft target of a random position with the same token. The
    student reads the same numbers, but they no longer belong to its question."""

    @model_validator(mode="after")
    def _possible(self) -> TopK:
        if not 1 <= self.k <= MOST_K:
            raise ValueError(f"k is {self.k}; expected 1 to {MOST_K} tokens")
        return self


def asks(options: TopK, **more: Any) -> Needs:
    """Return what both parties must be able to do, and `more` fields of Needs."""
    signal = SignalSpec(options.k, options.alignment, options.inside, shuffled=options.shuffled)
    return Needs(frozenset({Verb.LOG_PROBS}), frozenset({Verb.STUDY}), signal, **more)


def sides(soft: Soft, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return the teacher's and the student's log-probs [p, k + 1] of the named tokens and of the tail, tempered."""
    teacher, student = categories(soft.teacher, soft.student, ~soft.teacher.isneginf())
    return tempered(teacher, temperature), tempered(student, temperature)


def gold_category(soft: Soft) -> Tensor:
    """Return which of the k + 1 categories holds the text's own token [p]: the tail, if the teacher does not name it.

    Needs.gold must be declared.
    """
    import torch  # here, since reading an objective's options does not need it

    assert soft.gold is not None
    named = (soft.ids == soft.gold[:, None]) & ~soft.teacher.isneginf()
    return torch.cat([named, ~named.any(1, keepdim=True)], 1).long().argmax(1)


def batch_mean(scored: Scored, told: Soft | Chunks, each: Tensor) -> Tensor:
    """Return losses [p] of positions or chunks that a teacher scored, by their lessons' weights, over the batch's
    tokens."""
    return (each * scored.weights[told.rows]).sum() / (scored.batch_tokens or 1.0)


def blend(scored: Scored, soft: Soft, each: Tensor, label_weight: float) -> Tensor:
    """Return λ NLL + (1 - λ) `each` [p] at positions with a soft target, and the NLL alone at all others.

    λ is `label_weight`. The result is a mean over the batch's tokens, in nats if `each` is.
    """
    own = scored.log_probs[soft.rows, soft.columns]
    return nll(scored) + (1 - label_weight) * batch_mean(scored, soft, each + own)
