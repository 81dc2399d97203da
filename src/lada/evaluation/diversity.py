"""The diversity of a party's texts."""

from collections.abc import Iterable


def distinct_n(texts: Iterable[str], n: int = 2) -> float | None:
    """Return the share (0..1) of different n-grams of words among all (Li et al. 2016, arXiv 1510.03055).

    White space separates words; no n-gram spans two texts. None if no text has `n` words.
    """
    seen: set[tuple[str, ...]] = set()
    count = 0
    for text in texts:
        words = text.split()
        grams = list(zip(*(words[start:] for start in range(n)), strict=False))
        seen.update(grams)
        count += len(grams)
    return len(seen) / count if count else None
