"""A rule's expectation of each sample, and numerical features of samples for a network."""

import numpy as np

from lada.allocators.base import Candidates
from lada.allocators.selection import losses, same_answers
from lada.core.terms import Path

SURE = 10
"""One in SURE of a student's own paths counts as its surest."""
FEWEST_SURE = 10
"""Minimum number of surest paths for a conclusion."""


def features(candidates: Candidates, clusters: np.ndarray, count: int) -> np.ndarray:
    """Return one row per sample, float32 [n, 8 + count], of numbers in 0..1.

    The first six are exp of the mean and the minimum token log-prob: of the teacher's path under the teacher, of the
    student's path under the student, and of the teacher's path under the student. Then come whether the answers agree,
    whether the teacher is believed, and the sample's cluster, one-hot. An unknown log-prob (NaN) counts as probability
    0.
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
    """Return [n] bool: whether the teacher's loss per byte on its own path is below the student's, FedMKT's rule."""
    return losses(candidates.teacher_paths) < losses(candidates.student_paths)


def prior_reward(candidates: Candidates, *, gold: bool) -> np.ndarray:
    """Return what a rule expects from studying the teacher's paths [n]: 1 gain, 0.5 nothing new, 0 harm.

    With gold answers: 1 if only the teacher is right and it is believed, 0 if it is wrong, else 0.5. Some right answers
    are right by luck, with a wrong path: those that both give, and those with a writer less sure than a student that is
    wrong. Without gold answers: 1 if the teacher is believed, else 0.
    """
    trusted = believed(candidates)
    if not gold:
        return trusted.astype(np.float64)
    teacher, student = _right(candidates.teacher_paths), _right(candidates.student_paths)
    return np.where(_known(candidates), teacher * (0.5 + 0.5 * (trusted & ~student)), trusted)


def vouched_for(candidates: Candidates, share: float) -> bool:
    """Return whether the teacher agrees with more than `share` of the paths that the student is surest of.

    These are the tenth of the student's own paths with the lowest loss per byte. Fewer than ten vouch for no teacher. A
    server vouches for no client: a client that agrees on its own domain, or on easy questions, may be wrong on others,
    or lie there.
    """
    count = len(candidates.samples) // SURE
    if candidates.role == "server" or count < FEWEST_SURE:
        return False
    surest = np.argsort(losses(candidates.student_paths), kind="stable")[:count]
    return float(same_answers(candidates)[surest].mean()) > share


def promising(candidates: Candidates, *, gold: bool, vouch: float = 1.0) -> np.ndarray:
    """Return [n] bool: whether the teacher's path may teach what the student does not know.

    With gold answers, the teacher must be right and the student wrong. If they are unknown or must not be read, the
    teacher must give another answer than the student and be believed: on everything if it is `vouched_for`, else where
    its loss is lower.
    """
    teacher, student = _right(candidates.teacher_paths), _right(candidates.student_paths)
    sure = believed(candidates) | vouched_for(candidates, vouch)
    answered = np.array([path.answer is not None for path in candidates.teacher_paths], dtype=bool)
    differs = sure & answered & ~same_answers(candidates)
    if not gold:
        return differs
    wrong = np.array([path.right is False for path in candidates.teacher_paths], dtype=bool)
    return np.where(_known(candidates), teacher & ~student, differs & ~wrong)


def _right(paths: tuple[Path, ...]) -> np.ndarray:
    return np.array([bool(path.right) for path in paths], dtype=bool)


def _known(candidates: Candidates) -> np.ndarray:
    """Return [n] bool: whether both paths are known to be right or wrong."""
    paths = zip(candidates.teacher_paths, candidates.student_paths, strict=True)
    return np.array([None not in (teacher.right, student.right) for teacher, student in paths], dtype=bool)
