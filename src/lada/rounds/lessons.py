"""From an allocation to lessons: which path is learnt, according to the objective, and what is replayed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lada.core.terms import Allocation, Lesson, Path, Sample
from lada.models.objective import Objective


def make_lessons(
    allocation: Allocation,
    samples: Mapping[str, Sample],
    teacher: Mapping[str, Path],
    student: Mapping[str, Path],
    objective: Objective,
) -> list[Lesson]:
    """Return the lessons of an allocation, in its order. Empty paths teach nothing and are left out."""
    lessons = []
    for choice in allocation.choices:
        pair = (teacher[choice.sample_id], student[choice.sample_id])
        chosen, other = pair if choice.source == "teacher" else pair[::-1]
        lesson = objective.lesson(samples[choice.sample_id], chosen, other)
        if lesson is not None and lesson.chosen:
            lessons.append(lesson)
    return lessons


def with_teacher_totals(
    lessons: Sequence[Lesson],
    teacher: Mapping[str, Path],
    student: Mapping[str, Path],
    judged: Mapping[str, float],
) -> list[Lesson]:
    """Return lessons whose pairs have the teacher's log-probs of both texts, nats, where both are known.

    Those of the `teacher`'s own paths are its likelihoods. Those of the `student`'s are `judged`. Paths are by sample.
    A path that was cut has no end, which one side would count and the other not, so its pair stays without.
    """
    told: list[Lesson] = []
    for lesson in lessons:
        totals: dict[str, float] = {}
        if (own := teacher.get(lesson.sample_id)) is not None and own.likelihood.known and not own.cut:
            totals[own.text] = own.likelihood.total
        if (path := student.get(lesson.sample_id)) is not None and lesson.sample_id in judged and not path.cut:
            totals[path.text] = judged[lesson.sample_id]
        if lesson.rejected is not None and {lesson.chosen, lesson.rejected} <= totals.keys():
            told.append(replace(lesson, teacher_chosen=totals[lesson.chosen], teacher_rejected=totals[lesson.rejected]))
        else:
            told.append(lesson)
    return told


@dataclass(frozen=True, slots=True)
class ReplaySource:
    """Lessons that a party may replay, and their target share (0..1) of all lessons."""

    lessons: Sequence[Lesson]
    share: float


def with_replay(
    lessons: Sequence[Lesson],
    pools: Sequence[ReplaySource],
    rng: np.random.Generator,
    *,
    least: int = 0,
    alone: bool = False,
) -> tuple[list[Lesson], int]:
    """Return new lessons followed by replayed ones, and the number of the latter.

    The new lessons fill what the pools' shares leave. If that gives fewer than `least` lessons in total, replay
    supplies the rest, divided by the shares. A pool that is too small is used completely. Without new lessons nothing
    is replayed, since there is no forgetting to prevent. With `alone`, all pools with a share are then used completely.
    """
    if not lessons:
        whole = [lesson for pool in pools if pool.share for lesson in pool.lessons] if alone else []
        return whole, len(whole)
    everything = list(lessons)
    shares = sum(pool.share for pool in pools)
    total = max(len(lessons) / (1 - shares), (least - len(lessons)) / shares if shares else 0)
    for pool in pools:
        wanted = min(len(pool.lessons), round(total * pool.share))
        everything += [pool.lessons[int(i)] for i in sorted(rng.permutation(len(pool.lessons))[:wanted])]
    return everything, len(everything) - len(lessons)
