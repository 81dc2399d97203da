"""The contract of an objective: what it sees of a batch, what it returns, what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from lada.core.needs import NOTHING, Needs, State
from lada.core.terms import Lesson, Path, Sample

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Pairs:
    """The rejected side of those rows that have one: `rows` [m] indexes into the chosen side.

    `log_probs`, `mask` [m, L']; `diverges` [m] is the first token position at which the rejected completion leaves
    the chosen one. A contrast starts at the token positions `chosen_start` and `rejected_start` [m].
    `reference_chosen`, `reference_rejected` [m] are sums from there on under the frozen reference, nats (zeros where
    the objective wants none). `teacher_chosen`, `teacher_rejected` [m] are a teacher's sums over the whole paths, nats
    (NaN where they are unknown).
    """

    rows: Tensor
    log_probs: Tensor
    mask: Tensor
    diverges: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    chosen_start: Tensor
    rejected_start: Tensor
    teacher_chosen: Tensor
    teacher_rejected: Tensor


@dataclass(frozen=True, slots=True)
class Alternatives:
    """The a further paths of those rows that are pairs, row by row.

    `rows` [a], ascending, index into the chosen side; `log_probs`, `mask` [a, L'']. `teacher` [a] are a teacher's sums
    over the whole paths, nats.
    """

    rows: Tensor
    log_probs: Tensor
    mask: Tensor
    teacher: Tensor


@dataclass(frozen=True, slots=True)
class Soft:
    """The p token positions of a micro-batch that have a soft target.

    `student`, `teacher` [p, k] are both parties' log-probs of the same k tokens of the student's vocabulary, nats;
    the teacher's are -inf where a place is unused. `rows` [p] says which lesson a position belongs to, and `columns`
    [p] which of its tokens is predicted there: `Scored.log_probs[rows, columns]` are those of the text's own tokens.
    `ids` [p, k] are the named tokens, 0 where a place is unused; `gold` [p] is the text's own token, where it is asked
    for (Needs.gold).
    """

    student: Tensor
    teacher: Tensor
    rows: Tensor
    ids: Tensor
    gold: Tensor | None = None
    columns: Tensor = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Chunks:
    """The c chunks of a micro-batch of which a teacher said how likely it finds them.

    `student`, `teacher` [c] are both parties' log-probs of the same bytes, nats. `rows` [c] says which lesson a chunk
    belongs to. `old` [c] are the student's before the study, of its own texts, where asked for (Needs.old); those of
    other texts are 0.
    """

    student: Tensor
    teacher: Tensor
    rows: Tensor
    old: Tensor | None = None


Measure = Callable[["Tensor"], "Tensor"]
"""Takes the log-probs [c, vocabulary] of c tokens, float32, and returns one number each, [c]."""


def _over_vocabulary(_measure: Measure) -> NoReturn:
    raise LookupError("Scored.over_vocabulary is for objectives that declare Needs.dense")


ReadOut = Callable[["Tensor", "Tensor"], "Tensor"]
"""Takes hidden states [c, width] and ids [c, k], and returns the log-probs [c, k] that the output head predicts."""


def _read_out(_states: Tensor, _ids: Tensor) -> NoReturn:
    raise LookupError("Scored.read_out is for objectives that declare Needs.read_out")


def _observe(_name: str, _value: Tensor) -> NoReturn:
    raise LookupError("Scored.observe is for objectives that declare Needs.observes")


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
    alternatives: Alternatives | None = None
    """Further paths for the questions of pairs, where asked for (Needs.alternatives); None if there are none."""
    own: Tensor | None = None
    """Which texts the learner wrote itself, and a teacher scored, [n] bool; None if there are none."""
    step: int = 0
    """The number of this step in its study, from 0."""
    steps: int = 1
    """Number of steps in this study."""
    run_step: int = 0
    """The number of this step among all of the party's steps with this objective in the run, from 0."""
    run_steps: int = 1
    """Expected total of these, if each remaining round studies as long as this one."""
    state: State = field(default_factory=dict)
    """The objective's memory, as returned by `init` or the last `after_step`."""
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    """The current trained arrays of the state (Objective.trained), with gradients."""
    gold: Tensor | None = None
    """The texts' own tokens [n, L], int64, 0 where the mask is False; where asked for (Needs.gold)."""
    hidden: Mapping[float, Tensor] = field(default_factory=dict)
    """By depth, for those asked for (Needs.exits): the hidden states [n, L, width] that predict each token."""
    held_out: Scored | None = None
    """Lessons that no step trains, scored likewise (Needs.held_out): the part of them that goes with this one."""
    over_vocabulary: Callable[[Measure], Tensor] = _over_vocabulary
    """Returns a measure of the learner's whole distribution at each token [n, L], 0 where the mask is False; available
    with Needs.dense. It is computed one chunk of tokens at a time, forwards and backwards."""
    read_out: ReadOut = _read_out
    """Returns the log-probs of tokens that the learner's own output head predicts from any hidden states, such as
    `hidden` at `soft.rows, soft.columns`; available with Needs.read_out. It is computed in chunks, as a measure is."""
    observe: Callable[[str, Tensor], None] = _observe
    """Takes a named tensor, which is summed over the batch for `after_step` (Needs.observes)."""


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was taken: its numbers as in Scored, its loss (NaN under differential privacy), what it observed.

    `observed` holds what `Scored.observe` was given in all micro-batches of the batch, added up, float64.
    """

    step: int
    steps: int
    run_step: int
    run_steps: int
    loss: float
    observed: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a model that an objective may need to make fitting arrays.

    `width` is the width of hidden states. `head` is the width of the states that the output head reads, 0 for a model
    without one.
    """

    width: int
    vocabulary: int
    head: int = 0


class Objective:
    """A loss over lessons, with explicit state and no side effects. Its needs are declared on registration."""

    name: str = ""
    """The name under which it is registered."""
    needs: Needs = NOTHING
    plain: bool = False
    """Whether it is only the likelihood of the chosen texts, so that equal studies give equal results."""
    trained: tuple[str, ...] = ()
    """The names of the state's arrays that are trained with the model."""

    def __init__(self, options: Any = None) -> None:
        self.options = options
        self.needs = self.declared(options)

    @property
    def title(self) -> str:
        """Its registered name, or its class name."""
        return self.name or type(self).__name__

    @staticmethod
    def declared(options: Any) -> Needs:  # noqa: ARG004 - the contract's name
        """Return the needs with given options; the registry replaces this by the registered needs."""
        return NOTHING

    def init(self, seed: int, sizes: Sizes | None = None) -> State:
        """Return the state before the first step of a run; `sizes` are the learner's."""
        return {}

    def __call__(self, scored: Scored) -> Tensor:
        """Return the scalar loss of a micro-batch, so that a batch's losses sum to its mean."""
        raise NotImplementedError

    def after_step(self, state: State, done: Done) -> State:
        """Return the state after a step. Skipped steps, whose loss or gradient was not finite, are not reported."""
        return state

    def lesson(self, sample: Sample, chosen: Path, other: Path) -> Lesson | None:
        """Return the lesson on an allocated path, given the `other` party's path; None means no lesson."""
        return lesson_on(sample, chosen)


def lesson_on(sample: Sample, chosen: Path, rejected: Path | None = None) -> Lesson:
    """Return the lesson on a path, with a rejected one if there is one."""
    if rejected is None:
        return Lesson(sample.id, sample.question, chosen.text, chosen_cut=chosen.cut)
    return Lesson(
        sample.id,
        sample.question,
        chosen.text,
        rejected.text,
        chosen_cut=chosen.cut,
        rejected_cut=rejected.cut,
    )


def nll(scored: Scored) -> Tensor:
    """Return the weighted negative log-likelihood of the chosen paths, averaged over the batch's tokens (nats)."""
    return -(scored.log_probs.sum(1) * scored.weights).sum() / (scored.batch_tokens or 1.0)


def others(scored: Scored) -> Scored:
    """Return the micro-batch in which the learner's own texts have no weight."""
    return scored if scored.own is None else replace(scored, weights=scored.weights.masked_fill(scored.own, 0.0))


def own_texts(scored: Scored) -> Scored:
    """Return the micro-batch in which only the learner's own texts have a weight."""
    own = scored.weights.new_zeros(len(scored.weights)).bool() if scored.own is None else scored.own
    return replace(scored, weights=scored.weights.masked_fill(~own, 0.0))


def first_divergence(chosen: tuple[int, ...], rejected: tuple[int, ...]) -> int:
    """Return the first position at which two completions differ; the last rejected one if it is a prefix."""
    for position, (a, b) in enumerate(zip(chosen, rejected, strict=False)):
        if a != b:
            return position
    return min(len(chosen), len(rejected) - 1)
