"""The contract of an allocator: which samples one learner studies, for one (teacher, student) pair and direction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lada.core.needs import Needs, State
from lada.core.plural import counted
from lada.core.registry import Registry
from lada.core.terms import Allocation, Likelihood, Path, Sample, TokenScores

if TYPE_CHECKING:
    import numpy as np


def no_look(k: int) -> Iterator[TokenScores | None]:
    """Raise: whoever made these candidates by hand did not say what the student makes of the tokens."""
    raise LookupError(f"these candidates came without `look`; an allocator asks for {counted(k, 'token')} a position")


def no_texts(texts: Sequence[tuple[int, str]]) -> Iterator[TokenScores | None]:
    """Raise: whoever made these candidates by hand did not say what the student makes of other texts."""
    raise LookupError(f"these candidates came without `read`; an allocator asks for {counted(len(texts), 'text')}")


def no_vectors() -> np.ndarray:
    """Raise: whoever made these candidates by hand did not say how the student sees the questions."""
    raise LookupError("these candidates came without `embed`; an allocator asks for the vectors of the questions")


@dataclass(frozen=True, slots=True)
class Candidates:
    """What an allocator chooses from: position i of each tuple speaks of public sample i, in one fixed order."""

    round: int
    teacher: str
    student: str
    samples: tuple[Sample, ...]
    teacher_paths: tuple[Path, ...]
    student_paths: tuple[Path, ...]
    student_on_teacher: tuple[Likelihood, ...]
    """The student's own judgement of the teacher's paths."""
    agree: tuple[bool, ...]
    """Whether both paths have an answer and the task takes the two for the same."""
    seed: int
    look: Callable[[int], Iterator[TokenScores | None]] = no_look
    """`look(k)` gives, for each of the teacher's paths, the student's k likeliest tokens at each of its positions, None
    for a text that the student cannot trace in its tokens. It costs a forward pass; who calls it needs of the student
    Verb.LOG_PROBS."""
    read: Callable[[Sequence[tuple[int, str]]], Iterator[TokenScores | None]] = no_texts
    """`read(texts)` gives, for each (position, text), how likely the student finds each token of the text behind that
    sample's question, such as a part of a path; None for a text that it cannot trace. Costs and needs are as for
    `look`."""
    embed: Callable[[], np.ndarray] = no_vectors
    """`embed()` gives the questions as the student sees them, float32 [n, width]: as it saw them when it was asked
    first, since a run embeds them once. Who calls it needs of the student Verb.EMBED."""


class Allocator(Protocol):
    """A rule, pure over explicit state."""

    needs: Needs
    """With `own_paths` it compares paths that the two parties wrote themselves, and has no use for gold texts."""

    def init(self, seed: int) -> State:
        """Return the state before round 1."""
        ...

    def apply(self, state: State, candidates: Candidates) -> tuple[State, Allocation, dict[str, float]]:
        """Return the next state, the allocation and diagnostics for people."""
        ...


ALLOCATORS: Registry[Allocator] = Registry("allocator", "lada.allocators")
