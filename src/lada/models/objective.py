"""What an objective sees of a batch, and what it must return. The losses themselves are one floor up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from lada.core.needs import SignalSpec

if TYPE_CHECKING:
    from torch import Tensor

Prefer = Literal["role", "verified"]
Unpaired = Literal["nll", "skip"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The rejected side of those rows that have one: `rows` [m] indexes into the chosen side.

    `log_probs`, `mask` [m, L']; `diverges` [m] is the first token position at which the rejected completion leaves
    the chosen one; `reference_chosen`, `reference_rejected` [m] are sums under the frozen reference, nats (zeros
    where the objective wants none).
    """

    rows: Tensor
    log_probs: Tensor
    mask: Tensor
    diverges: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor


@dataclass(frozen=True, slots=True)
class Soft:
    """The p token positions of a micro-batch that have a soft target.

    `student`, `teacher` [p, k] are both parties' log-probs of the same k tokens of the student's vocabulary, nats;
    the teacher's are -inf where a place is unused. `rows` [p] says which lesson a position belongs to.
    """

    student: Tensor
    teacher: Tensor
    rows: Tensor


@dataclass(frozen=True, slots=True)
class Chunks:
    """The c chunks of a micro-batch of which a teacher said how likely it finds them.

    `student`, `teacher` [c] are both parties' log-probs of the same bytes, nats. `rows` [c] says which lesson a chunk
    belongs to.
    """

    student: Tensor
    teacher: Tensor
    rows: Tensor


@dataclass(frozen=True, slots=True)
class Scored:
    """A micro-batch of lessons under the learner: `log_probs`, `mask` [n, L]; `weights` [n].

    `batch_tokens` and `batch_pairs` count over the whole batch, of which this may be a part, each row by its weight:
    a loss that divides by them is a mean over the batch however it is cut into micro-batches.
    """

    log_probs: Tensor
    mask: Tensor
    weights: Tensor
    pairs: Pairs | None
    batch_tokens: float
    batch_pairs: float
    soft: Soft | None = None
    chunks: Chunks | None = None


class Objective(Protocol):
    """A loss over lessons."""

    contrasts: bool
    """Whether rejected paths are to be scored."""
    reference: bool
    """Whether the log-probs of the learner as it was before this study are to be supplied."""
    soft: SignalSpec | None
    """The soft targets that it asks teachers for; None: it needs none."""
    prefer: Prefer | None
    """Which of two paths is the chosen one (see lada.rounds.lessons.make_lesson); None: the one that was allocated."""
    unpaired: Unpaired
    """Where it prefers, what becomes of a choice without a pair."""

    def __call__(self, scored: Scored) -> Tensor:
        """Return the scalar loss of a micro-batch, such that a batch's losses add up to its mean."""
        ...


def nll(scored: Scored) -> Tensor:
    """Return the weighted negative log-likelihood of the chosen paths, mean over the batch's tokens (nats)."""
    return -(scored.log_probs.sum(1) * scored.weights).sum() / (scored.batch_tokens or 1.0)


def first_divergence(chosen: tuple[int, ...], rejected: tuple[int, ...]) -> int:
    """Return the first position at which two completions differ; the last rejected one if it is a prefix."""
    for position, (a, b) in enumerate(zip(chosen, rejected, strict=False)):
        if a != b:
            return position
    return min(len(chosen), len(rejected) - 1)
