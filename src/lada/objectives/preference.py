"""Which of two paths is learnt and which is rejected, by their writers or by their verdicts."""

from typing import Literal

from lada.core.terms import Lesson, Path, Sample
from lada.models.objective import lesson_on

Prefer = Literal["role", "verified"]
Unpaired = Literal["nll", "skip"]


def make_lesson(sample: Sample, chosen: Path, other: Path, prefer: Prefer, unpaired: Unpaired) -> Lesson | None:
    """Return the lesson for one choice; None if there is nothing right to learn.

    `role` (LaDa's paper) pairs the chosen path with the other party's, whichever is right. `verified` pairs the right
    path with the wrong one if one is known to be right and the other to be wrong. It returns None if the chosen path is
    wrong and the other is not known to be right. Otherwise there is no preference. Without a preference, and if the two
    texts are the same or one is empty, the chosen path is learnt by NLL alone (`nll`) or skipped (`skip`).
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


def make_pair(sample: Sample, chosen: Path, other: Path, prefer: Prefer) -> Lesson | None:
    """Return the lesson on both paths of a sample, for an objective that compares them.

    The chosen path comes first, or with `verified` the right one if one is known to be right and the other to be wrong.
    The result is None with `verified` if the chosen path is wrong and the other is not known to be right. Without a
    second text that differs, the lesson has no pair.
    """
    if prefer == "verified" and chosen.right is False:
        if not other.right:
            return None
        chosen, other = other, chosen
    return lesson_on(sample, chosen, other if other.text and other.text != chosen.text else None)
