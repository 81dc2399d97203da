"""What a method needs of the parties: read before round 1, by the planner, by whoever checks messages, by learners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lada.core.terms import Verb

if TYPE_CHECKING:
    import numpy as np

State = Mapping[str, "np.ndarray"]
"""A method's memory: named arrays, so that it serialises as safetensors. Rows about samples carry their ids."""


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """What an objective asks of a teacher beside a text; how it is carried across tokenizers: see lada.alignment."""

    k: int
    """Tokens per position that a teacher names; of one alone, that is the text's own."""
    alignment: Literal["offsets", "mined"]
    inside: Literal["mask", "one_hot"] = "mask"
    as_chunks: bool = False
    """Not soft targets, but the log-probs of the stretches that both tokenizers cut alike."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a method with given options needs. A pair of parties that lacks it is refused before round 1."""

    teacher: frozenset[Verb] = frozenset()
    """What the learner that is learnt from must be able to do."""
    student: frozenset[Verb] = frozenset()
    """What the learner that studies must be able to do."""
    signal: SignalSpec | None = None
    """What an objective wants to know of a teacher beside its text."""
    rejected: bool = False
    """Whether rejected paths are scored beside the chosen ones."""
    reference: bool = False
    """Whether the log-probs of the learner as it was before the study are needed."""
    exits: tuple[float, ...] = ()
    """Depths, as shares (0..1] of the layers, of which the hidden states are needed."""
    couples_batch: bool = False
    """Whether the loss of a lesson depends on others of its batch: then a batch is never split, and dp is refused."""
    held_out: float = 0.0
    """Share (0..1) of the lessons that a study keeps for an outer step."""
    gold: bool = False
    """Whether an objective looks at the ids of the texts' own tokens."""
    dense: bool = False
    """Whether an objective looks at the learner's distributions over its whole vocabulary."""
    observes: bool = False
    """Whether an objective adds up figures of its batches for its state: dp and parallel studies are refused."""
    tries: float = 0.0
    """Share (0..1) of a study's budget that an allocator spends at most on what the student studies on trial, for which
    dp would not account and is refused; 0: it tries nothing."""
    lesson_losses: bool = False
    """Whether an allocator reads the losses of lessons step by step: dp and parallel studies are refused."""
    own_paths: bool = False
    """Whether the two parties' own paths are compared, so that gold texts in their place are of no use."""
    pools_private: bool = False
    """Whether private samples leave their clients: a bound to compare with, which runs on one machine alone."""

    def __or__(self, other: Needs) -> Needs:
        """Return what two methods need that are used together, whose signals must not differ."""
        signals = {each for each in (self.signal, other.signal) if each is not None}
        if len(signals) > 1:
            raise ValueError(f"two different signals are requested at once: {self.signal} and {other.signal}")
        return Needs(
            teacher=self.teacher | other.teacher,
            student=self.student | other.student,
            signal=next(iter(signals), None),
            rejected=self.rejected or other.rejected,
            reference=self.reference or other.reference,
            exits=tuple(sorted({*self.exits, *other.exits})),
            couples_batch=self.couples_batch or other.couples_batch,
            held_out=max(self.held_out, other.held_out),
            gold=self.gold or other.gold,
            dense=self.dense or other.dense,
            observes=self.observes or other.observes,
            tries=max(self.tries, other.tries),
            lesson_losses=self.lesson_losses or other.lesson_losses,
            own_paths=self.own_paths or other.own_paths,
            pools_private=self.pools_private or other.pools_private,
        )


NOTHING = Needs()
"""What a method needs that declares nothing."""


def needs(
    teacher: frozenset[Verb] | set[Verb] = frozenset(), student: frozenset[Verb] | set[Verb] = frozenset(), **more: Any
) -> Needs:
    """Return needs of these verbs and `more` fields of Needs."""
    return Needs(teacher=frozenset(teacher), student=frozenset(student), **more)
