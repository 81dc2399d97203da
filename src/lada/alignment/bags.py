"""Lower bounds on the edit distance of two strings, from which bytes they have and how many of each.

A string's features are (byte, n) for its n-th occurrence of that byte, n up to `OCCURRENCES`; each feature has one of
`BITS` bits. One edit removes at most one feature and adds at most one, so the bits that one string has and another
lacks count edits. Rare features share bits and later occurrences have none: that only lowers the count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OCCURRENCES = 8
BITS = 192
OWN = 160
"""Bits that belong to only one feature; the others are shared."""
LONGEST = 255 - BITS
"""Sizes are capped at this, which only lowers bounds; together with BITS it keeps every bound within a byte."""


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """Strings as bit sets: `words` uint64 [w, n], first bit highest, and `sizes` uint8 [n], bytes up to LONGEST."""

    words: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, rows: np.ndarray) -> "Bags":
        """Return the bags of some of the strings."""
        return Bags(self.words.take(rows, axis=1), self.sizes[rows])


def _features(strings: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return the string and the feature, for every feature that a string has."""
    owners = np.repeat(np.arange(len(strings)), np.fromiter(map(len, strings), np.int64, len(strings)))
    keys = np.sort(owners * 256 + np.frombuffer(b"".join(strings), dtype=np.uint8))
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    occurrences = np.arange(len(keys)) - np.repeat(starts, np.diff(starts, append=len(keys)))
    kept = occurrences < OCCURRENCES
    return keys[kept] >> 8, (keys[kept] & 255) * OCCURRENCES + occurrences[kept]


def bags(strings: Sequence[bytes], others: Sequence[bytes]) -> tuple[Bags, Bags]:
    """Return the bags of both lists with a common table of bits: the more frequent a feature, the earlier its bit."""
    lists = [(each, *_features(each)) for each in (strings, others)]
    counts = np.bincount(np.concatenate([lists[0][2], lists[1][2]]), minlength=256 * OCCURRENCES)
    order = np.argsort(-counts, kind="stable")
    bit = np.empty(len(order), dtype=np.int64)
    bit[order] = [place if place < OWN else OWN + place % (BITS - OWN) for place in range(len(order))]

    def pack(texts: Sequence[bytes], owners: np.ndarray, features: np.ndarray) -> Bags:
        dense = np.zeros((len(texts), BITS), dtype=bool)
        dense[owners, bit[features]] = True
        words = np.packbits(dense, axis=1).view(">u8").astype(np.uint64)
        sizes = np.minimum(np.fromiter(map(len, texts), np.int64, len(texts)), LONGEST)
        return Bags(np.ascontiguousarray(words.T), sizes.astype(np.uint8))

    return pack(*lists[0]), pack(*lists[1])


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Groups of similar strings. `members` are index arrays, ascending. `some` and `every`, uint64 [w, g], are the bits
    that any and that all members have. `least` and `most`, uint8 [g], are the sizes of the shortest and longest."""

    members: list[np.ndarray]
    some: np.ndarray
    every: np.ndarray
    least: np.ndarray
    most: np.ndarray


def gray_ranks(words: np.ndarray) -> np.ndarray:
    """Return uint64 [w, n]: the position of each column of `words`, read as one number, in the reflected Gray code.

    Neighbours in this code differ in one bit, while neighbouring numbers may differ in all.
    """
    ranks = words.copy()
    for shift in (1, 2, 4, 8, 16, 32):  # each bit becomes the parity of those from the first to it
        ranks ^= ranks >> np.uint64(shift)
    odd = np.bitwise_xor.accumulate(ranks[:-1] & np.uint64(1), axis=0)
    ranks[1:] ^= np.uint64(0) - odd
    return ranks


def group(of: Bags, size: int) -> Groups:
    """Divide strings into groups of `size`, sorted by length and then, in Gray order, by their most frequent
    features."""
    order = np.lexsort((*gray_ranks(of.words)[::-1], of.sizes))
    starts = np.arange(0, len(order), size)
    words, sizes = of.words.take(order, axis=1), of.sizes[order]
    return Groups(
        members=[np.sort(order[start : start + size]) for start in starts],
        some=np.bitwise_or.reduceat(words, starts, axis=1),
        every=np.bitwise_and.reduceat(words, starts, axis=1),
        least=sizes[starts],
        most=sizes[np.minimum(starts + size, len(order)) - 1],
    )


def bounds(of: Bags, groups: Groups) -> np.ndarray:
    """Return uint8 [g, n]: no member of group g is closer to string n than that many edits.

    Suppose r bytes are deleted, i inserted and s replaced between a string and a member. The features that no member
    has must disappear: r + s is at least their number, and i is at least the difference in length if the member is
    longer. The features that every member has must appear: i + s is at least their number, and r is at least the
    difference in length if the member is shorter.
    """
    lacking, sizes = ~of.words, of.sizes
    least = np.empty((len(groups.members), len(of)), dtype=np.uint8)
    both, bits = (
        np.empty_like(of.words[0]),
        np.empty_like(sizes),
    )  # one buffer for all: new ones would cost more than the count
    for index, row in enumerate(least):
        go = np.maximum(sizes, groups.least[index]) - sizes
        come = sizes - np.minimum(sizes, groups.most[index])
        for word, (none, every) in enumerate(zip(~groups.some[:, index], groups.every[:, index], strict=True)):
            go += np.bitwise_count(np.bitwise_and(of.words[word], none, out=both), out=bits)
            if every:  # most groups agree on common features only
                come += np.bitwise_count(np.bitwise_and(lacking[word], every, out=both), out=bits)
        np.maximum(go, come, out=row)
    return least
