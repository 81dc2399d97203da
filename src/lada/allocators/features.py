"""What LaDa's filter sees of a sample. All features lie in 0..1, so none needs scaling."""

import numpy as np

from lada.allocators.base import Candidates
from lada.allocators.selection import least_log_probs, same_answers


def features(candidates: Candidates, clusters: np.ndarray, count: int, *, gold: bool) -> np.ndarray:
    """Return one row per sample, float32 [n, 7 + count (+ 2 with gold)].

    exp of the mean and the least token log-prob of the teacher's path under the teacher, of the student's path under
    the student and of the teacher's path under the student; whether the answers agree; the sample's cluster, one-hot;
    with `gold`, whether the teacher and the student are right.
    """
    likelihoods = [
        [path.likelihood for path in candidates.teacher_paths],
        [path.likelihood for path in candidates.student_paths],
        list(candidates.student_on_teacher),
    ]
    columns = [
        np.exp([getattr(likelihood, name) for likelihood in row]) for row in likelihoods for name in ("mean", "minimum")
    ]
    columns.append(same_answers(candidates).astype(float))
    columns.extend((clusters == number).astype(float) for number in range(count))
    if gold:
        columns += [_right(candidates.teacher_paths), _right(candidates.student_paths)]
    return np.stack(columns, axis=1).astype(np.float32)


def _right(paths: tuple) -> np.ndarray:
    return np.array([bool(path.right) for path in paths], dtype=float)


def solved(candidates: Candidates, *, gold: bool) -> np.ndarray:
    """Return [n] bool: the student solves the sample now.

    Without gold answers the answer of the party whose least sure token is surer stands in for the right one.
    """
    if gold:
        return _right(candidates.student_paths).astype(bool)
    teacher, student = least_log_probs(candidates)
    answered = np.array([path.answer is not None for path in candidates.student_paths])
    return answered & (same_answers(candidates) | (student >= teacher))


def prior_reward(candidates: Candidates, *, gold: bool) -> np.ndarray:
    """Return what a rule expects of studying the teacher's paths [n]: 1 a gain, 0.5 nothing new, 0 harm.

    With gold answers: 1 where the teacher alone is right, 0.5 where both are, 0 where the teacher is wrong.
    Without: 1 where the answers differ and the teacher is surer, 0.5 where they agree, 0 where the student is surer.
    """
    if gold:
        teacher, student = _right(candidates.teacher_paths), _right(candidates.student_paths)
        return teacher * (1 - 0.5 * student)
    sure_teacher, sure_student = least_log_probs(candidates)
    agree = same_answers(candidates)
    return np.where(agree, 0.5, (sure_teacher > sure_student).astype(float))
