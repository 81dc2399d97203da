"""What a rule expects of a sample, and numbers about it for a network."""

import numpy as np

from lada.allocators.base import Candidates
from lada.allocators.selection import losses, same_answers
from lada.core.terms import Path


def features(candidates: Candidates, clusters: np.ndarray, count: int) -> np.ndarray:
    """Return one row per sample, float32 [n, 8 + count], of numbers in 0..1.

    exp of the mean and the least token log-prob of the teacher's path under the teacher, of the student's path under
    the student and of the teacher's path under the student; whether the answers agree; whether the teacher is believed;
    the sample's cluster, one-hot. A log-prob that is not known (NaN) counts as a probability of 0.
    """
    likelihoods = [
        [path.likelihood for path in candidates.teacher_paths],
        [path.likelihood for path in candidates.student_paths],
        list(candidates.student_on_teacher),
    ]
    columns = [
        np.nan_to_num(np.exp([getattr(likelihood, name) for likelihood in row]))
        for row in likelihoods
        for name in ("mean", "minimum")
    ]
    columns += [same_answers(candidates), believed(candidates)]
    columns.extend((clusters == number).astype(float) for number in range(count))
    return np.stack(columns, axis=1).astype(np.float32)


def believed(candidates: Candidates) -> np.ndarray:
    """Return [n] bool: the teacher's loss per byte on its own path is below the student's on its own, FedMKT's rule."""
    return losses(candidates.teacher_paths) < losses(candidates.student_paths)


def prior_reward(candidates: Candidates, *, gold: bool) -> np.ndarray:
    """Return what a rule expects of studying the teacher's paths [n]: 1 a gain, 0.5 nothing new, 0 harm.

    With gold answers: 1 where the teacher alone is right and believed, 0 where it is wrong, else 0.5. A right answer
    that both give, or that its writer is less sure of than the student is of a wrong one, is often right by luck, with
    a path that is not. Without gold answers: 1 where the teacher is believed, else 0.
    """
    trusted = believed(candidates)
    if not gold:
        return trusted.astype(np.float64)
    teacher, student = _right(candidates.teacher_paths), _right(candidates.student_paths)
    return np.where(_known(candidates), teacher * (0.5 + 0.5 * (trusted & ~student)), trusted)


def surer_half(candidates: Candidates) -> np.ndarray:
    """Return [n] bool: the teacher's loss per byte on its own path is at most the median of those that are known."""
    loss = losses(candidates.teacher_paths)
    known = loss[np.isfinite(loss)]
    return loss <= np.median(known) if len(known) else np.zeros(len(loss), dtype=bool)


def promising(candidates: Candidates, *, gold: bool, trusting: bool = False) -> np.ndarray:
    """Return [n] bool: the teacher's path may teach what the student does not know.

    With gold answers that is where the teacher is right and the student is not; where they are not known, or not to be
    read, where the two answers differ and the teacher is believed. With `trusting` it is believed as well where it is
    surer of its path than of most, if it may be trusted about itself.
    """
    teacher, student = _right(candidates.teacher_paths), _right(candidates.student_paths)
    sure = believed(candidates)
    if (
        trusting and candidates.trusted
    ):  # of whoever is not, half of all that it claims would be taken whatever it claims
        sure |= surer_half(candidates)
    differs = sure & ~same_answers(candidates)
    if not gold:
        return differs
    wrong = np.array([path.right is False for path in candidates.teacher_paths], dtype=bool)
    return np.where(_known(candidates), teacher & ~student, differs & ~wrong)


def _right(paths: tuple[Path, ...]) -> np.ndarray:
    return np.array([bool(path.right) for path in paths], dtype=bool)


def _known(candidates: Candidates) -> np.ndarray:
    """Return [n] bool: both paths are known to be right or wrong."""
    paths = zip(candidates.teacher_paths, candidates.student_paths, strict=True)
    return np.array([None not in (teacher.right, student.right) for teacher, student in paths], dtype=bool)
