"""The contract of an allocator: which samples a learner studies, for one (teacher, student) pair and direction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lada.core.needs import Needs, State
from lada.core.plural import counted
from lada.core.registry import Registry
from lada.core.seeds import seed_of
from lada.core.terms import Allocation, Likelihood, OwnQuestions, Path, Sample, TokenScores

if TYPE_CHECKING:
    import numpy as np

    from lada.allocators.reviews import Reviews


def no_look(k: int) -> Iterator[TokenScores | None]:
    """Raise: these handmade candidates lack the student's log-probs of the tokens."""
    raise LookupError(f"these candidates lack `look`; the allocator needs {counted(k, 'token')} per position")


def no_texts(texts: Sequence[tuple[int, str]]) -> Iterator[TokenScores | None]:
    """Raise: these handmade candidates lack the student's log-probs of other texts."""
    raise LookupError(
        f"these candidates lack `score`; the allocator needs the log-probs of {counted(len(texts), 'text')}"
    )


def no_vectors() -> np.ndarray:
    """Raise: these handmade candidates lack the student's embeddings of the questions."""
    raise LookupError("these candidates lack `embed`; the allocator needs the vectors of the questions")


def no_own() -> OwnQuestions | None:
    """Raise: these handmade candidates lack the student's private questions."""
    raise LookupError("these candidates lack `own`; the allocator needs the vectors of the student's private questions")


def no_reading() -> np.ndarray:
    """Raise: these handmade candidates lack the student's reading of the teacher's paths."""
    raise LookupError("these candidates lack `read`; the allocator needs the vectors of the paths")


class Trials(Protocol):
    """Trial studies: copies of the student study some of the teacher's paths and are then examined.

    Weights are whatever `study` returned. At the end the student has its original weights, or those given to `keep`.
    All trials, kept or not, count towards the study that follows and shorten it accordingly.
    """

    @property
    def least(self) -> float:
        """The smallest share that `study` can take exactly, which is one step. 0 if the budget is not in steps."""
        ...

    def study(self, chosen: Sequence[int], share: float, after: Any = None) -> Any:
        """Return the student's weights after a study of these candidates that starts with the weights `after`.

        None starts with the student's original weights. `share` (0..1) is the study's part of the student's budget for
        this teacher in this round.
        """
        ...

    def examine(self, after: Any, probes: Sequence[int], *, gold: bool = True) -> np.ndarray:
        """Return for each probe, bool [probes], whether the student with these weights answers as the teacher does.

        `probes` are candidates. With `gold`, an answer known to be right counts as well.
        """
        ...

    def likelihoods(self, after: Any, chosen: Sequence[int]) -> np.ndarray:
        """Return the mean log-prob per token, nats, of the teacher's paths `chosen` with these weights, [chosen]."""
        ...

    def keep(self, after: Any) -> None:
        """Leave the student with these weights, unless they come from a teacher that is not trusted."""
        ...


NO_TRIALS = "these candidates lack `trials`; the allocator needs trial studies"


class NoTrials:
    """Raises: these handmade candidates have no student that could run trials."""

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
    """Return a number for the lesson on a path, which identifies its row in a state's arrays."""
    return seed_of(sample_id, text)


@dataclass(frozen=True, slots=True, eq=False)
class Studied:
    """The losses of these lessons during the student's last study, step by step.

    Each lesson of each step has one row: the step's number (ascending), the lesson's key (`lesson_key` of the learnt
    path) and its mean token loss before that step, nats. `steps`, `keys` int64 [m], `losses` float64 [m].
    """

    round: int
    steps: np.ndarray
    keys: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True, slots=True)
class Candidates:
    """What an allocator chooses from. Position i of each tuple belongs to public sample i, in one fixed order."""

    round: int
    teacher: str
    student: str
    samples: tuple[Sample, ...]
    teacher_paths: tuple[Path, ...]
    student_paths: tuple[Path, ...]
    student_on_teacher: tuple[Likelihood, ...]
    """The student's likelihoods of the teacher's paths."""
    agree: tuple[bool, ...]
    """Whether both paths have an answer and the task considers the two equal."""
    seed: int
    role: str = "client"
    """The student's role: `server` or `client`."""
    trusted: bool = True
    """Whether the teacher's claims about itself are trusted. A client trusts its server. A server trusts its clients
    only with `trust: off`."""
    look: Callable[[int], Iterator[TokenScores | None]] = no_look
    """`look(k)` gives, for each of the teacher's paths, the student's k likeliest tokens at each position. It gives
    None for a text that the student cannot trace in its tokens. It costs a forward pass and needs Verb.LOG_PROBS of the
    student."""
    score: Callable[[Sequence[tuple[int, str]]], Iterator[TokenScores | None]] = no_texts
    """`score(texts)` gives, for each (position, text), the student's log-prob of each token of the text after that
    sample's question. The text may be part of a path. It gives None for a text that cannot be traced. Costs and needs
    are as for `look`."""
    embed: Callable[[], np.ndarray] = no_vectors
    """`embed()` gives the student's embeddings of the questions, float32 [n, width]. A run computes them once, on the
    first call. It needs Verb.EMBED of the student."""
    own: Callable[[], OwnQuestions | None] = no_own
    """`own()` gives the student's private samples, embedded as the questions by `embed` are. It gives None for a
    server, which has none. A run computes the vectors once, on the first call. It needs Verb.EMBED of the student and
    `own_vectors`."""
    read: Callable[[], np.ndarray] = no_reading
    """`read()` gives one vector per teacher's path, float32 [n, width], of what in it surprises the student
    (Learner.read). It costs a forward pass and needs Verb.READ of the student."""
    trials: Trials = NoTrials()  # noqa: RUF009 - it has no state
    """Trial studies of the student. They need Verb.STUDY of the student, the verbs of other methods called, and
    `tries`."""
    studied: Studied | None = None
    """For allocators that declare Needs.lesson_losses; None before the first study."""
    reviews: Reviews | None = None
    """What all parties answered and how likely they find each other's paths, for allocators that declare Needs.reviews.
    None: nothing is known beyond the pair (lada.allocators.pairs.of_pair)."""


class Allocator(Protocol):
    """A rule with explicit state and no side effects."""

    needs: Needs
    """With `own_paths` it compares paths that both parties wrote themselves, and does not use gold texts."""

    def init(self, seed: int) -> State:
        """Return the state before round 1."""
        ...

    def apply(self, state: State, candidates: Candidates) -> tuple[State, Allocation, dict[str, float]]:
        """Return the next state, the allocation and diagnostics for display."""
        ...


ALLOCATORS: Registry[Allocator] = Registry("allocator", "lada.allocators")
