"""What a teacher and its student alone tell about each other: the evidence of peer review without other parties."""

import numpy as np

from lada.allocators.base import Candidates
from lada.allocators.reviews import NOTHING, Reviews, per_byte


def of_pair(candidates: Candidates) -> Reviews:
    """Return what the candidates hold about their teacher (place 0) and student (place 1).

    What a teacher claims about its own paths counts only if it is trusted.
    """
    teacher, student = candidates.teacher_paths, candidates.student_paths
    answers = [
        (NOTHING if its.answer is None else 0, NOTHING if own.answer is None else 0 if same else 1)
        for its, own, same in zip(teacher, student, candidates.agree, strict=True)
    ]
    log_probs = {
        (1, 1): np.array([per_byte(path.likelihood) for path in student]),
        (1, 0): np.array([per_byte(each) for each in candidates.student_on_teacher]),
    }
    if candidates.trusted:
        log_probs[0, 0] = np.array([per_byte(path.likelihood) for path in teacher])
    return Reviews((candidates.teacher, candidates.student), np.array(answers, np.int64).reshape(-1, 2), log_probs)
