"""How often two parties give the same answer, right or wrong."""

from collections.abc import Callable, Sequence

from lada.core.terms import Path


def same_questions(a: Sequence[str], b: Sequence[str]) -> None:
    """Raise ValueError, naming the first difference, unless two lists of sample ids are equal."""
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} sample ids; expected the same questions")
    for place, (x, y) in enumerate(zip(a, b, strict=True)):
        if x != y:
            raise ValueError(f"sample ids differ at position {place}: {x!r} and {y!r}; expected the same order")


def agreements(a: Sequence[Path], b: Sequence[Path], same: Callable[[str | None, str], bool]) -> list[bool]:
    """Return for each question whether both paths have an answer and `same` considers the two equal.

    Raises ValueError if the paths do not cover the same questions in the same order.
    """
    same_questions([path.sample_id for path in a], [path.sample_id for path in b])
    return [
        x.answer is not None and y.answer is not None and same(x.answer, y.answer) for x, y in zip(a, b, strict=True)
    ]


def agreement(a: Sequence[Path], b: Sequence[Path], same: Callable[[str | None, str], bool]) -> float:
    """Return the percentage of all questions on which two parties agree (see `agreements`).

    A question that either leaves unanswered counts as disagreement. Raises ValueError if there is no question, or if
    the paths do not cover the same questions in the same order.
    """
    agreed = agreements(a, b, same)
    if not agreed:
        raise ValueError("there are no paths to compare")
    return 100 * sum(agreed) / len(agreed)
