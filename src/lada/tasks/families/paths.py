"""Writes right paths over one or two families, and recognises their style from the text.

    spelled_out  a) 36 = 24 * 1 + 12 , 24 = 12 * 2 + 0 ; 12 . b) 12 = 2 * 6 + 0 : 0 , … ; 2 . answer 2
    skips_gcd    a) 12 . b) 12 = 2 * 6 + 0 : 0 , … ; 2 . answer 2
    leaps        a) 12 . b) 2 . answer 2

Every result is right. The styles differ in whose work is shown, and so in who can learn from it. Benchmarks recognise
the style of a path by its text; no method knows it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lada.tasks.generated import WITH
from lada.tasks.styles import LEAPS, OTHER, SPELLED_OUT, skips

LABELS = ("a)", "b)")
_NEXT = re.compile(r" (?=b\) )")
_PART = re.compile(r"([ab]\)) (.+ ; )?[^;]+ \.")


@dataclass(frozen=True, slots=True)
class Part:
    """One question of a path: its family, its steps and its result."""

    family: str
    steps: tuple[str, ...]
    result: str


def styles(families: Sequence[str]) -> tuple[str, ...]:
    """Return the styles of a path over these families."""
    if len(families) == 1:
        return (SPELLED_OUT, LEAPS)
    return (SPELLED_OUT, *map(skips, families), LEAPS)


def write(parts: Sequence[Part], style: str) -> str:
    """Write a path in a style. Raises ValueError for an unknown style."""
    families = [part.family for part in parts]
    if style not in styles(families):
        raise ValueError(f"no path over {' and '.join(families)} is written in the style {style!r}")
    told: list[str] = []
    for label, part in zip(LABELS, parts, strict=False):
        hidden = style in (LEAPS, skips(part.family))
        work = "" if hidden else f"{' , '.join(part.steps)} ; "
        told.append(f"{label} {work}{part.result} .")
    return f"{' '.join(told)} answer {parts[-1].result}"


def style_of(domain: str, text: str) -> str:
    """Return the style of a path to a question of `domain`; OTHER for a text of another form."""
    families = domain.split(WITH)
    told, _, _ = text.strip().rpartition(" answer ")
    found = [_PART.fullmatch(part) for part in _NEXT.split(told)]
    if [part and part[1] for part in found] != list(LABELS[: len(families)]):
        return OTHER
    skipped = [family for family, part in zip(families, found, strict=True) if part and not part[2]]
    if not skipped:
        return SPELLED_OUT
    return LEAPS if len(skipped) == len(families) else skips(skipped[0])
