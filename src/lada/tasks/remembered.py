"""Caches pure functions of short texts: many parties give the same answers to the same questions."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")

SHORT = 500
"""The most characters of a cached text, so that long texts cannot fill the memory."""
MOST = 2**16
"""How many of the latest texts each function caches."""


def remembered(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return a pure function that processes the same short text only once."""
    known = lru_cache(MOST)(read)

    @wraps(read)
    def call(text: str) -> T:
        return known(text) if len(text) <= SHORT else read(text)

    return call
