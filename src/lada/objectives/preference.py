"""Which of two paths is learnt and which is rejected, by who wrote them or by what is known of them."""

from typing import Literal

from lada.core.terms import Lesson, Path, Sample
from lada.models.objective import lesson_on

Prefer = Literal["role", "verified"]
Unpaired = Literal["nll", "skip"]


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
