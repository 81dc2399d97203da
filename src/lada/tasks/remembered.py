"""Pure functions of short texts, remembered: many parties give the same answers to the same questions."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")

SHORT = 500
"""Most characters of a text that is remembered, so that nobody fills the memory with long ones."""
MOST = 2**16
"""Most texts that each function remembers, the latest."""


def remembered(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return a pure function that looks at the same short text once."""
    known = lru_cache(MOST)(read)

    @wraps(read)
    def call(text: str) -> T:
        return known(text) if len(text) <= SHORT else read(text)

    return call
