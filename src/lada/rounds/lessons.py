"""From an allocation to lessons: whose path is learnt, as the objective has it, and what is replayed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class ReplaySource:
    """Lessons a party may replay, and the share (0..1) of all lessons that they shall make up."""

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

    The new lessons make up what the pools' shares leave; where that is fewer than `least` lessons in all, replay makes
    up the rest, divided as the shares are. A pool that is too small is used whole. Without new lessons nothing is
    replayed either, since there is nothing to protect from; or, with `alone`, all pools that have a share are, whole.
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
