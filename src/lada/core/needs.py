"""What a method needs of the parties. Checks before round 1, the planner, message checks and learners read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lada.core.terms import Source, Verb

if TYPE_CHECKING:
    import numpy as np

State = Mapping[str, "np.ndarray"]
"""A method's memory: named arrays, serialisable as safetensors. Rows about samples carry their ids."""
Start = Literal["path", "step", "wrong_step"]
"""Where a contrast of two paths starts: at their beginning, at the first step in which they differ, or at the rejected
path's first wrong step."""


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """What an objective needs from a teacher in addition to a text. See lada.alignment for how it crosses
    tokenizers."""

    k: int
    """Number of tokens per position that a teacher sends. With 1, it is the text's own token."""
    alignment: Literal["offsets", "mined"]
    inside: Literal["mask", "one_hot"] = "mask"
    as_chunks: bool = False
    """Send log-probs of the chunks that both tokenizers share, instead of soft targets."""
    shuffled: bool = False
    """Give each position the soft target of another position with the same token: a control."""
    texts: tuple[Source, ...] = ("teacher",)
    """Whose texts the teacher scores: its own, or those that the student wrote and sent."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a method with given options needs. A pair of parties that lacks it is refused before round 1."""

    teacher: frozenset[Verb] = frozenset()
    """Verbs that the teaching learner must support."""
    student: frozenset[Verb] = frozenset()
    """Verbs that the studying learner must support."""
    signal: SignalSpec | None = None
    """What an objective needs from a teacher in addition to its text."""
    rejected: bool = False
    """Whether rejected paths are scored in addition to the chosen ones."""
    alternatives: int = 0
    """Maximum number of further paths of a question that are scored in addition to a pair; see Scored.alternatives."""
    reference: bool = False
    """Whether the log-probs of the learner before the study are needed."""
    start: Start | None = None
    """Where a contrast of two paths starts; None without a contrast."""
    own_lessons: bool = False
    """Whether an objective learns from lessons on the student's own texts, which a teacher scored."""
    old: bool = False
    """Whether an objective compares the learner's own texts with its log-probs of them before the study."""
    exits: tuple[float, ...] = ()
    """Depths, as shares (0..1] of the layers, whose hidden states are needed."""
    couples_batch: bool = False
    """Whether a lesson's loss depends on other lessons of its batch. A batch is then never split, and dp is refused."""
    held_out: float = 0.0
    """Share (0..1) of the lessons that a study holds out for an outer step."""
    gold: bool = False
    """Whether an objective reads the ids of the texts' own tokens."""
    dense: bool = False
    """Whether an objective reads the learner's distributions over its whole vocabulary."""
    read_out: bool = False
    """Whether an objective lets the learner's output head read hidden states of its choice."""
    observes: bool = False
    """Whether an objective accumulates figures over its batches in its state. dp and parallel studies are then
    refused."""
    tries: float = 0.0
    """Maximum share (0..1) of a study's budget that an allocator spends on trial studies; 0 means none. dp would not
    account for them and is refused."""
    own_vectors: bool = False
    """Whether an allocator or a policy embeds the private questions of its client."""
    lesson_losses: bool = False
    """Whether an allocator reads the losses of lessons step by step. dp and parallel studies are then refused."""
    own_paths: bool = False
    """Whether the two parties' own paths are compared, so that gold texts cannot replace them."""
    reviews: bool = False
    """Whether an allocator compares the answers of all parties, so that a host reads them all before it allocates."""
    pools_private: bool = False
    """Whether private samples leave their clients. Such a method is an upper bound and runs only on one machine."""

    def signal_on(self, texts: Source) -> SignalSpec | None:
        """Return what is needed of a teacher about the `texts` of one side; None if nothing is."""
        return self.signal if self.signal is not None and texts in self.signal.texts else None

    def __or__(self, other: Needs) -> Needs:
        """Return the combined needs of two methods, whose signals and starts must not differ."""
        signals = {each for each in (self.signal, other.signal) if each is not None}
        if len(signals) > 1:
            raise ValueError(f"two different signals are requested at once: {self.signal} and {other.signal}")
        if None not in (self.start, other.start) and self.start != other.start:
            raise ValueError(f"two contrasts start at different places: {self.start} and {other.start}")
        return Needs(
            teacher=self.teacher | other.teacher,
            student=self.student | other.student,
            signal=next(iter(signals), None),
            rejected=self.rejected or other.rejected,
            alternatives=max(self.alternatives, other.alternatives),
            reference=self.reference or other.reference,
            start=self.start or other.start,
            own_lessons=self.own_lessons or other.own_lessons,
            old=self.old or other.old,
            exits=tuple(sorted({*self.exits, *other.exits})),
            couples_batch=self.couples_batch or other.couples_batch,
            held_out=max(self.held_out, other.held_out),
            gold=self.gold or other.gold,
            dense=self.dense or other.dense,
            read_out=self.read_out or other.read_out,
            observes=self.observes or other.observes,
            tries=max(self.tries, other.tries),
            own_vectors=self.own_vectors or other.own_vectors,
            lesson_losses=self.lesson_losses or other.lesson_losses,
            own_paths=self.own_paths or other.own_paths,
            reviews=self.reviews or other.reviews,
            pools_private=self.pools_private or other.pools_private,
        )


NOTHING = Needs()
"""The needs of a method that declares none."""


def needs(
    teacher: frozenset[Verb] | set[Verb] = frozenset(), student: frozenset[Verb] | set[Verb] = frozenset(), **more: Any
) -> Needs:
    """Return needs of these verbs and `more` fields of Needs."""
    return Needs(teacher=frozenset(teacher), student=frozenset(student), **more)
