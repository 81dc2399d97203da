"""Shared steps of allocation: rank, cut to a budget, name the sources."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from pydantic import field_validator

from lada.allocators.base import Candidates
from lada.core.bounds import MOST_SAMPLES
from lada.core.registry import Options
from lada.core.terms import Allocation, Likelihood, Path, Selection, Source


class Budgeted(Options):
    """Options of a rule that keeps at most `budget` samples per direction and round. None keeps all that qualify."""

    budget: int | float | None = None
    """A number of samples (400), or a share of the candidates above 0 and below 1 (0.4)."""

    @field_validator("budget")
    @classmethod
    def _possible(cls, budget: int | float | None) -> int | float | None:
        if budget is not None and not (budget >= 1 if isinstance(budget, int) else 0 < budget < 1):
            raise ValueError(
                f"budget is {budget}; expected at least 1 sample, a share between 0 and 1, or null for no limit"
            )
        if budget is not None and budget > MOST_SAMPLES:
            raise ValueError(f"budget is {budget}; expected at most {MOST_SAMPLES} samples, or null for no limit")
        return budget

    def limit(self, count: int) -> int | None:
        """Return how many of `count` candidates may be kept, at least one; None means all."""
        return max(1, round(self.budget * count)) if isinstance(self.budget, float) else self.budget


class Gold(Options):
    """Options of a rule that reads verdicts on answers only if told to. All such rules behave alike."""

    gold: bool = False
    """Read which answers are right, and never take a path known to be wrong. A path whose answer cannot be checked may
    be taken."""

    def may_take(self, paths: Sequence[Path]) -> np.ndarray:
        """Return [n] bool: which paths the rule may take."""
        return np.array([not self.gold or path.right is not False for path in paths], dtype=bool)


class RuleOptions(Gold, Budgeted):
    """Options of a rule: its sample budget, and whether it reads verdicts."""


class Drawn(RuleOptions):
    """Options of a rule that draws `budget` samples, or half of all without a budget."""

    def draws(self, count: int) -> int:
        """Return how many of `count` candidates are drawn."""
        return min(count, self.limit(count) or max(1, count // 2))


def top(scores: np.ndarray, allowed: np.ndarray, budget: int | None) -> list[int]:
    """Return the positions of the highest `scores` [n] among `allowed` [n] bool, ties by position, at most `budget`."""
    order = np.argsort(-scores, kind="stable")
    return [int(i) for i in order if allowed[i]][:budget]


def from_teacher(chosen: Iterable[int]) -> dict[int, Source]:
    """Return the sources of an allocation that takes the teacher's path at each position."""
    return dict.fromkeys(chosen, "teacher")


def allocate(
    candidates: Candidates,
    chosen: Sequence[int],
    sources: Mapping[int, Source],
    scores: np.ndarray | None,
    reasons: Mapping[int, str],
) -> Allocation:
    """Return the allocation of the positions `chosen`; `scores` is [n], or None if the rule has none."""
    ids = [sample.id for sample in candidates.samples]
    return Allocation(
        candidates.teacher,
        candidates.student,
        candidates.round,
        tuple(
            Selection(ids[i], sources[i], float(scores[i]) if scores is not None else 1.0, reasons[i]) for i in chosen
        ),
        {} if scores is None else {ids[i]: float(scores[i]) for i in range(len(ids))},
    )


def same_answers(candidates: Candidates) -> np.ndarray:
    """Return [n] bool: whether teacher and student gave the same answer (two missing answers are not the same)."""
    return np.array(candidates.agree, dtype=bool)


def sureness(paths: Sequence[Path]) -> np.ndarray:
    """Return the minimum token log-prob of each path under its own writer [n], nats.

    It is -inf if the path ends without an answer or the writer's log-probs are unknown. No such path counts as more
    confident than another.
    """
    return _of_answered(paths, [path.likelihood.minimum for path in paths], -np.inf)


def losses(paths: Sequence[Path]) -> np.ndarray:
    """Return the loss of each path under its own writer [n], nats per byte.

    It is inf if the path ends without an answer or the writer's log-probs are unknown.
    """
    return _of_answered(paths, [path.likelihood.per_byte for path in paths], np.inf)


def gaps_of(candidates: Candidates, students: Sequence[Likelihood]) -> np.ndarray:
    """Return how far the losses of `students` exceed the teacher's on its own paths [n], nats per byte."""
    paths = zip(candidates.teacher_paths, students, strict=True)
    return np.array([student.per_byte - path.likelihood.per_byte for path, student in paths])


def _of_answered(paths: Sequence[Path], values: Sequence[float], otherwise: float) -> np.ndarray:
    """Return `values` of paths that end in an answer, float64 [n], and `otherwise` for the others and for NaN."""
    answered = np.array([path.answer is not None for path in paths], dtype=bool)
    known = np.array(values, dtype=np.float64)
    return np.where(answered & ~np.isnan(known), known, otherwise)
