"""The steps of a path as text: sentences and lines, where two paths part, and where one first goes wrong."""

import re
from collections.abc import Sequence
from itertools import pairwise, takewhile

END = re.compile(r"[.!?]+\s+|\n+\s*")
"""The end of a step: a full stop or similar followed by white space, or the end of a line."""


def steps_of(text: str) -> list[tuple[int, str]]:
    """Return the steps of a path, each with the character at which it begins; blank ones are left out."""
    cuts = [0, *(match.end() for match in END.finditer(text)), len(text)]
    return [(start, step) for start, end in pairwise(cuts) if (step := text[start:end]).strip()]


def where_they_part(one: str, other: str) -> tuple[int, int]:
    """Return the character of each path at which its first step begins that the other lacks in its place.

    White space around steps does not count. A path that has only the other's first steps parts at its end.
    """
    steps = steps_of(one), steps_of(other)
    alike = takewhile(lambda pair: pair[0][1].strip() == pair[1][1].strip(), zip(*steps, strict=False))
    shared = len(list(alike))
    first, second = (
        its[shared][0] if shared < len(its) else len(text) for its, text in zip(steps, (one, other), strict=True)
    )
    return first, second


def where_it_goes_wrong(text: str, checked: Sequence[tuple[str, bool]]) -> int | None:
    """Return the character of a path at which its first wrong step begins; `checked` is from a task's StepCheck.

    The result is None if no step is wrong, or if a wrong one is missing from the text, so that its place is unknown.
    """
    wrong: list[int] = []
    behind: dict[str, int] = {}
    for step, right in checked:
        place = text.find(step, behind.get(step, 0)) if step else -1
        if place < 0 and not right:
            return None
        behind[step] = place + len(step)  # a step that is repeated is checked as often
        if not right:
            wrong.append(place)
    return min(wrong, default=None)
