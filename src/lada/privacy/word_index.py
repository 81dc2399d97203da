"""An index of the words of many texts as 64-bit numbers, to find which texts contain which passages."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from lada.core.words import windows

Places = tuple[np.ndarray, np.ndarray]
"""Passages by their hashes, uint64 [n], ascending, and the places of their samples, int64 [n]."""


class Texts:
    """The words of some texts, one text after another."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self.words = [word for text in texts for word in text]
        self.sizes = np.array([len(text) for text in texts], np.int64)
        """The words of each text."""
        self.text = np.repeat(np.arange(len(texts)), self.sizes)
        """The text that each word belongs to."""
        self._codes = coded(self.words)
        self.passages = lru_cache(maxsize=1)(self._passages)  # each length is queried several times in a row
        """`passages(length)` returns the hash of each passage of that many words within a text, and where it begins."""

    def _passages(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        ((_, hashes),) = windows(self._codes, [length])
        within = self.text[: len(hashes)] == self.text[length - 1 :] if len(hashes) else np.zeros(0, bool)
        return hashes[within], np.flatnonzero(within)

    def passages_of_more(self, length: int, texts: int) -> np.ndarray:
        """Return the hashes of the passages of `length` words that occur in more than this many `texts`."""
        hashes, starts = self.passages(length)
        if not texts:
            return hashes
        hashes, counts = np.unique(once_each(hashes, self.text[starts])[0], return_counts=True)
        return hashes[counts > texts]

    def unspaced(self) -> "Unspaced":
        """Return the texts without the characters between their words."""
        ends = np.cumsum(self.sizes).tolist()
        return Unspaced(["".join(self.words[a:b]) for a, b in zip([0, *ends], ends, strict=False)])


class Unspaced:
    """Texts of only letters and digits, for searching."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._all = "\n".join(texts)
        self._starts = np.cumsum([0, *(len(text) + 1 for text in texts)]).tolist()

    def texts_with(self, word: str) -> list[int]:
        """Return the places of the texts that contain a word, ascending."""
        found, at = list[int](), self._all.find(word)
        while at >= 0:
            found.append(bisect_right(self._starts, at) - 1)
            at = self._all.find(word, self._starts[found[-1] + 1])
        return found


def once_each(hashes: np.ndarray, owners: np.ndarray) -> Places:
    """Return each pair of a hash and its owner once, by hashes and then owners, ascending."""
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    new = np.append(True, (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1]))[: len(hashes)]
    return hashes[new], owners[new]


def coded(words: Sequence[str]) -> np.ndarray:
    """Return the numbers of words, uint64 [n]."""
    return np.array([_code(word) for word in words], np.uint64)


@lru_cache(maxsize=1 << 18)
def _code(word: str) -> int:
    """Return a 64-bit number for a word, the same everywhere."""
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
