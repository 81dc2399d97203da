"""Nouns as their number wants them: `1 round`, `2 rounds`."""

MANY = 50
"""Up to this many clients each have rows of their own; of more, it is told where their values lie."""


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun; `many` is the plural where it is not `one` with an s."""
    return f"{number} {plural(number, one, many)}"


def plural(number: int, one: str, many: str = "") -> str:
    """Return a noun alone, as counted gives it."""
    return one if number == 1 else many or f"{one}s"
