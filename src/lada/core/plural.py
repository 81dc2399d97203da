"""Nouns in the form that fits their number: `1 round`, `2 rounds`."""

MANY = 50
"""Up to this many clients have a row each; with more, only the distribution of their values is shown."""


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun; `many` is the plural if it is not `one` with an s."""
    return f"{number} {plural(number, one, many)}"


def plural(number: int, one: str, many: str = "") -> str:
    """Return only the noun of `counted`."""
    return one if number == 1 else many or f"{one}s"
