"""From an allocation to lessons: whose path is learnt, what it is contrasted with, what is replayed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lada.core.terms import Allocation, Lesson, Path, Sample
from lada.models.objective import Objective, Prefer, Unpaired


def make_lesson(sample: Sample, chosen: Path, other: Path, prefer: Prefer, unpaired: Unpaired) -> Lesson | None:
    """Return the lesson for one choice; None where there is nothing right to learn.

    `role` (LaDa's paper): the chosen path against the other party's, whoever is right. `verified`: where one is known
    to be right and the other to be wrong, the right against the wrong one; where the chosen path is wrong and the
    other not known to be right, no lesson; else there is no preference. Without a preference, or where the two texts
    are the same or one is empty, the chosen path is learnt by NLL alone (`nll`) or left out (`skip`).
    """
    pair = None
    if prefer == "role":
        pair = (chosen, other)
    elif chosen.right is False and other.right is not True:
        return None
    elif None not in (chosen.right, other.right) and chosen.right != other.right:
        pair = (chosen, other) if chosen.right else (other, chosen)
    if pair and pair[1].text and pair[0].text != pair[1].text:
        return lesson_on(sample, *pair)
    return lesson_on(sample, chosen) if unpaired == "nll" else None


def lesson_on(sample: Sample, chosen: Path, rejected: Path | None = None) -> Lesson:
    """Return the lesson on a path, beside a rejected one where there is one."""
    if rejected is None:
        return Lesson(sample.id, sample.question, chosen.text, chosen_cut=chosen.cut)
    return Lesson(
        sample.id,
        sample.question,
        chosen.text,
        rejected.text,
        chosen_cut=chosen.cut,
        rejected_cut=rejected.cut,
    )


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
        sample = samples[choice.sample_id]
        if objective.prefer is None:
            lesson = lesson_on(sample, chosen)
        else:
            lesson = make_lesson(sample, chosen, other, objective.prefer, objective.unpaired)
        if lesson is not None and lesson.chosen:
            lessons.append(lesson)
    return lessons


@dataclass(frozen=True, slots=True)
class Pool:
    """Lessons a party may replay, and the share (0..1) of all lessons that they shall make up."""

    lessons: Sequence[Lesson]
    share: float


def with_replay(
    lessons: Sequence[Lesson],
    pools: Sequence[Pool],
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
