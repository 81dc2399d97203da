"""The labels of what may be asked for about digits: their names, their parity, how they look and where they stand."""

from itertools import product

DIGITS = tuple("0123456789")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARITY = ("even", "odd")
ATTRIBUTES = ("plain", "inverted", "bold", "rotated")
"""How a digit may look."""
PLACES = tuple(product(("top", "middle", "bottom"), ("left", "centre", "right")))
"""Where a digit may stand on a canvas: its third of the rows, and of the columns."""
Place = tuple[str, str]
CENTRE = ("middle", "centre")


def parity(digit: int) -> str:
    """Return whether a digit is even or odd."""
    return PARITY[digit % 2]


def pair(attribute: str, digit: int) -> str:
    """Return a digit with its attribute, such as `bold 7`."""
    return f"{attribute} {digit}"


def caption(attribute: str, digit: int, place: Place) -> str:
    """Return a caption, such as `a bold seven at the top left`; a plain digit has no attribute in it."""
    seen = NAMES[digit] if attribute == "plain" else f"{attribute} {NAMES[digit]}"
    where = "in the centre" if place == CENTRE else f"at the {' '.join(part for part in place if part not in CENTRE)}"
    return f"{'an' if seen[0] in 'aeio' else 'a'} {seen} {where}"


LABEL_SETS: dict[str, tuple[str, ...]] = {
    "digits": DIGITS,
    "parity": PARITY,
    "attributes": tuple(pair(attribute, digit) for attribute in ATTRIBUTES for digit in range(10)),
    "captions": tuple(
        caption(attribute, digit, place) for attribute in ATTRIBUTES for digit in range(10) for place in PLACES
    ),
}
"""All labels, by the name under which a task asks for them."""
