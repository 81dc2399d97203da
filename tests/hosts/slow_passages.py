"""What is distinctive, by comparing every passage with every text word by word; shares nothing with the index."""

import re
import unicodedata
from collections.abc import Sequence

from lada.core.terms import Sample


def words(text: str) -> list[str]:
    """Return letters in a row and digits in a row, without case, marks and invisible characters."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    text = "".join(c for c in text if unicodedata.category(c) not in {"Mn", "Cf"})
    return re.findall(r"[^\W\d_]+|\d+", text)


def runs(text: list[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(text[i : i + length]) for i in range(len(text) - length + 1)}


def texts(sample: Sample) -> list[list[str]]:
    return [words(text) for text in (sample.question, sample.rationale, sample.answer) if text]


def distinctive(
    private: Sequence[Sample], known: Sequence[str], *, most: int = 2, plain: int = 8
) -> set[tuple[str, ...]]:
    """Return the passages, where lengths are the least: rare words, runs of `plain` words, whole texts below that."""
    groups = [[other for other in private if words(other.question) == words(sample.question)] for sample in private]
    owners = [[text for sample in group for text in texts(sample)] for group in groups]
    owners = list({str(sorted(owner)): owner for owner in owners}.values())
    received = [words(text) for text in known]
    found: set[tuple[str, ...]] = set()
    for owner in owners:
        for text in owner:
            for length in range(1, plain + 1):
                for run in runs(text, length):
                    whole = length == len(text) < plain
                    if length in (1, plain) or whole:
                        having = sum(any(run in runs(other, length) for other in each) for each in owners)
                        if having <= most and not any(run in runs(other, length) for other in received):
                            found.add(run)
    return found


def holds(text: str, passages: set[tuple[str, ...]]) -> bool:
    return any(runs(words(text), length) & passages for length in {len(passage) for passage in passages})
