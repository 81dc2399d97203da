"""Passages of private texts that are telling: words in a row that stand in no text all parties have.

Where texts follow a pattern, some words in a row come about by themselves. So the same search is made for test samples
that the client never studied: at a length at which these are found, a find says nothing. Then a passage must be twice
as long as the shortest at which none of them is.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lada.audit.canaries import folded

LENGTHS = (8, 16, 32, 64)
"""Words that make a passage."""
CHARACTERS = 5
"""Characters without spaces that count as a word: so many in a row make a passage too, for scripts without spaces."""
WORD = re.compile(r"\w+")
BASE = np.uint64(0x9E3779B97F4A7C15)
"""Of a polynomial hash modulo 2^64; odd, so that no place is lost."""
Named = Sequence[tuple[str, str]]
"""Texts with their names."""


class Passages:
    """The telling passages of some texts, of `words` words or 5 times as many characters.

    They are held as 64-bit hashes, so millions fit. That one is found by chance is about as likely as their number
    times the number of passages searched, over 10^19.
    """

    def __init__(self, texts: Named, known: Iterable[str], words: int) -> None:
        """Passages that stand in a `known` text too are not telling."""
        self.names = [name for name, _ in texts]
        self._words = words
        hashes = [hashed(text, words) for _, text in texts]
        every = np.concatenate([np.zeros(0, np.uint64), *hashes])
        owners = np.repeat(np.arange(len(texts)), [len(found) for found in hashes])
        told = ~np.isin(every, np.concatenate([np.zeros(0, np.uint64), *(hashed(text, words) for text in known)]))
        self._hashes, self._owners = every[told], owners[told]

    def __len__(self) -> int:
        return len(np.unique(self._hashes))

    @property
    def short(self) -> int:
        """How many of the texts hold no telling passage and so cannot be found."""
        return len(self.names) - len(np.unique(self._owners))

    def found_in(self, text: str) -> list[str]:
        """Return the names of the texts of which a telling passage stands in `text`, each once, in the order given."""
        if not len(self._hashes):
            return []
        there = np.isin(self._hashes, hashed(text, self._words))
        return list(dict.fromkeys(self.names[owner] for owner in np.unique(self._owners[there]).tolist()))


@dataclass(frozen=True, slots=True)
class Watched:
    """What is searched for at one length: private texts, and others that the client never studied."""

    words: int
    private: Passages
    others: Passages


def watch(private: Named, others: Named, shared: Sequence[str]) -> tuple[Watched, ...]:
    """Return what to search for at each length. `shared` are the texts that all parties study or may study.

    A private passage that stands in one of the `others` is not telling either.
    """
    known = [*shared, *(text for _, text in others)]
    return tuple(Watched(n, Passages(private, known, n), Passages(others, shared, n)) for n in LENGTHS)


def hashed(text: str, words: int) -> np.ndarray:
    """Return a hash of each passage of a text, uint64 [passages]; the words' and the characters' behind one another."""
    found = WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    characters = np.frombuffer(folded(text).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    return np.concatenate(
        [
            _windows([hash(word) & 0xFFFFFFFFFFFFFFFF for word in found], words),
            _windows((characters + np.uint64(1)) * BASE, words * CHARACTERS) ^ BASE,
        ]
    )


def _windows(codes: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """Return a hash of each window of `size` codes, uint64."""
    values = np.asarray(codes, np.uint64)
    values = values ^ (values >> np.uint64(29))
    total = np.zeros(max(len(values) - size + 1, 0), np.uint64)
    for place in range(size):
        total = total * BASE + values[place : place + len(total)]
    return total ^ (total >> np.uint64(31))
