"""The contract of an allocator: which samples one learner studies, for one (teacher, student) pair and direction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lada.core.needs import Needs, State
from lada.core.plural import counted
from lada.core.registry import Registry
from lada.core.seeds import seed_of
from lada.core.terms import Allocation, Likelihood, Path, Sample, TokenScores

if TYPE_CHECKING:
    import numpy as np


def no_look(k: int) -> Iterator[TokenScores | None]:
    """Raise: whoever made these candidates by hand did not say what the student makes of the tokens."""
    raise LookupError(f"these candidates came without `look`; an allocator asks for {counted(k, 'token')} a position")


def no_texts(texts: Sequence[tuple[int, str]]) -> Iterator[TokenScores | None]:
    """Raise: whoever made these candidates by hand did not say what the student makes of other texts."""
    raise LookupError(f"these candidates came without `score`; an allocator asks for {counted(len(texts), 'text')}")


def no_vectors() -> np.ndarray:
    """Raise: whoever made these candidates by hand did not say how the student sees the questions."""
    raise LookupError("these candidates came without `embed`; an allocator asks for the vectors of the questions")


def no_reading() -> np.ndarray:
    """Raise: whoever made these candidates by hand did not say what surprises the student in the teacher's paths."""
    raise LookupError("these candidates came without `read`; an allocator asks for the vectors of the paths")


class Trials(Protocol):
    """What a student can be made to try: copies of it study some of the teacher's paths for a while and are examined.

    Weights are whatever `study` returned. In the end the student has the weights that it had, or those of `keep`. All
    that was tried, kept or not, is part of the study that follows, which is as much shorter.
    """

    @property
    def least(self) -> float:
        """The least share that `study` can take exactly: that of one step. 0 where the budget is not in steps."""
        ...

    def study(self, chosen: Sequence[int], share: float, after: Any = None) -> Any:
        """Return the student's weights after a study of these candidates, which begins with the weights `after`.

        None: with those that it had. `share` (0..1) is the study's part of what this student may study of this teacher
        in this round.
        """
        ...

    def examine(self, after: Any, probes: Sequence[int], *, gold: bool = True) -> np.ndarray:
        """Return for each probe, bool [probes], whether the student answers as the teacher does with these weights.

        `probes` are candidates. With `gold`, an answer that is known to be right counts as the teacher's does.
        """
        ...

    def likelihoods(self, after: Any, chosen: Sequence[int]) -> np.ndarray:
        """Return the mean log-prob per token, nats, of the teacher's paths `chosen` with these weights, [chosen]."""
        ...

    def keep(self, after: Any) -> None:
        """Leave the student with these weights, unless a teacher who is not believed led to them."""
        ...


NO_TRIALS = "these candidates came without `trials`; an allocator wants to try some of them"


class NoTrials:
    """Raises: whoever made these candidates by hand has no student that could try anything."""

    least = 0.0

    def study(self, chosen: Sequence[int], share: float, after: Any = None) -> Any:
        """Raise LookupError."""
        raise LookupError(NO_TRIALS)

    def examine(self, after: Any, probes: Sequence[int], *, gold: bool = True) -> np.ndarray:
        """Raise LookupError."""
        raise LookupError(NO_TRIALS)

    def likelihoods(self, after: Any, chosen: Sequence[int]) -> np.ndarray:
        """Raise LookupError."""
        raise LookupError(NO_TRIALS)

    def keep(self, after: Any) -> None:
        """Raise LookupError."""
        raise LookupError(NO_TRIALS)


def lesson_key(sample_id: str, text: str) -> int:
    """Return a number for the lesson on a path: an array in a state that says whose its rows are."""
    return seed_of(sample_id, text)


@dataclass(frozen=True, slots=True, eq=False)
class Studied:
    """What the student's last study of what was chosen for it made of these lessons, step by step.

    One row for each lesson of each step: the number of the step, ascending, the lesson's key (`lesson_key` of the path
    that was learnt) and its mean token loss before that step, nats. `steps`, `keys` int64 [m], `losses` float64 [m].
    """

    round: int
    steps: np.ndarray
    keys: np.ndarray
    losses: np.ndarray


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
    trusted: bool = True
    """Whether the teacher is believed about itself: a client believes its server, and a server its clients under
    `trust: off` alone."""
    look: Callable[[int], Iterator[TokenScores | None]] = no_look
    """`look(k)` gives, for each of the teacher's paths, the student's k likeliest tokens at each of its positions, None
    for a text that the student cannot trace in its tokens. It costs a forward pass; who calls it needs of the student
    Verb.LOG_PROBS."""
    score: Callable[[Sequence[tuple[int, str]]], Iterator[TokenScores | None]] = no_texts
    """`score(texts)` gives, for each (position, text), how likely the student finds each token of the text behind that
    sample's question, such as a part of a path; None for a text that it cannot trace. Costs and needs are as for
    `look`."""
    embed: Callable[[], np.ndarray] = no_vectors
    """`embed()` gives the questions as the student sees them, float32 [n, width]: as it saw them when it was asked
    first, since a run embeds them once. Who calls it needs of the student Verb.EMBED."""
    read: Callable[[], np.ndarray] = no_reading
    """`read()` gives one vector per teacher's path, float32 [n, width], of what in it surprises the student
    (Learner.read). It costs a forward pass; who calls it needs of the student Verb.READ."""
    trials: Trials = NoTrials()  # noqa: RUF009 - it has no state
    """What the student can be made to try. Who does needs of it Verb.STUDY and what else it calls, and `tries`."""
    studied: Studied | None = None
    """For who declares Needs.lesson_losses; None before the first study."""


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
