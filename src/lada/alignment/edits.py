"""Strings that are one edit apart, found by hashing what is left of them without one byte."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

BASE = 0x9E3779B97F4A7C15
INVERSE = pow(BASE, -1, 2**64)


@dataclass(frozen=True, slots=True, eq=False)
class _Hashes:
    """Hashes uint64, sum over places j of (byte + 1) · BASE^j modulo 2^64: `whole` [n] of each string, `without` and
    `blank` [bytes in all] of what is left when one byte is taken out or made 0; `owners` says of which string."""

    whole: np.ndarray
    without: np.ndarray
    blank: np.ndarray
    owners: np.ndarray


def _hashes(strings: Sequence[bytes]) -> _Hashes:
    sizes = np.fromiter(map(len, strings), np.int64, len(strings))
    ends = np.cumsum(sizes)
    owners = np.repeat(np.arange(len(strings)), sizes)
    places = np.arange(len(owners)) - (ends - sizes)[owners]
    powers = np.cumprod(np.full(sizes.max(initial=0), BASE, dtype=np.uint64))
    terms = (np.frombuffer(b"".join(strings), dtype=np.uint8).astype(np.uint64) + np.uint64(1)) * powers[places]
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(terms)])
    before, after = sums[:-1] - sums[ends - sizes][owners], sums[ends][owners] - sums[1:]
    return _Hashes(
        whole=sums[ends] - sums[ends - sizes],
        without=before + after * np.uint64(INVERSE),
        blank=before + after,
        owners=owners,
    )


def one_edit(strings: Sequence[bytes], others: Sequence[bytes]) -> np.ndarray:
    """Return for each string the index of the first of `others` at edit distance 1, -1 where none was found.

    int64 [n]. `strings` and `others` have no string in common. Of two strings at distance 1, either the longer
    without one byte is the shorter, or both are the same but for one byte, so they have a hash in common. Only the
    least index among the hits is measured: should equal hashes belong to other strings, the answer is -1, never wrong.
    """
    mine, theirs = _hashes(strings), _hashes(others)
    each, nobody = np.arange(len(strings)), len(others)
    first = np.full(len(strings), nobody)
    for keys, owners, table, found in (
        (mine.without, mine.owners, theirs.whole, np.arange(nobody)),
        (mine.whole, each, theirs.without, theirs.owners),
        (mine.blank, mine.owners, theirs.blank, theirs.owners),
    ):
        known, leading = np.unique(table, return_index=True)
        if len(known):
            places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            hits = known[places] == keys
            np.minimum.at(first, owners[hits], found[leading[places[hits]]])
    some = np.flatnonzero(first < nobody)
    pairs = [strings[row] for row in some.tolist()], [others[place] for place in first[some].tolist()]
    distances = process.cpdist(*pairs, scorer=Levenshtein.distance, dtype=np.int32)
    first[some[distances != 1]] = nobody
    return np.where(first < nobody, first, -1)
