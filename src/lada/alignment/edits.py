"""Strings that are a few edits apart, found by hashing what is left of them without the edited bytes."""

from collections.abc import Sequence
from itertools import combinations, product
from math import comb

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

BASE = 0x9E3779B97F4A7C15
INVERSE = pow(BASE, -1, 2**64)
CHOICES = 128
"""Strings that can be edited in more places than this are left out: 16 bytes for two edits."""
ROWS = 2**14
"""Strings hashed at once."""
SIEVE = 22
"""Leading bits of a hash that are looked up before the whole: most strings are nowhere near another."""


def at_distance(strings: Sequence[bytes], others: Sequence[bytes], edits: int) -> np.ndarray:
    """Return for each string the index of the first of `others` at edit distance `edits`, -1 where none was found.

    int64 [n]. No string is closer than that to any of `others`. On the shortest way from one string to another some
    bytes go, some come and some are replaced. Without those that go or come, and with the replaced ones blank, both
    strings are the same, so they have a hash in common. Only the least index among the hits is measured: should
    equal hashes belong to other strings, the answer is -1, never wrong.
    """
    mine, theirs = _by_size(strings), _by_size(others)
    first = np.full(len(strings), len(others))
    for size, (rows, codes) in mine.items():
        if comb(size, edits) > CHOICES:
            continue
        for go, come in product(range(edits + 1), repeat=2):
            if go + come > edits or size - go + come not in theirs:
                continue
            replaced = edits - go - come
            places, table = theirs[size - go + come]
            keys = _hashes(table, come, replaced)
            for start in range(0, len(rows), ROWS):
                part = slice(start, start + ROWS)
                found = _least(_hashes(codes[:, part], go, replaced), keys, places, len(others))
                first[rows[part]] = np.minimum(first[rows[part]], found)
    some = np.flatnonzero(first < len(others))
    pairs = [strings[row] for row in some.tolist()], [others[place] for place in first[some].tolist()]
    distances = process.cpdist(*pairs, scorer=Levenshtein.distance, dtype=np.int32)
    first[some[distances != edits]] = len(others)
    return np.where(first < len(others), first, -1)


def _by_size(strings: Sequence[bytes]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return for each size, in bytes, which strings have it, int64 [m], and their bytes, uint8 [size, m]."""
    sizes = np.fromiter(map(len, strings), np.int64, len(strings))
    starts = np.cumsum(sizes) - sizes
    data = np.frombuffer(b"".join(strings), dtype=np.uint8)
    rows = {size: np.flatnonzero(sizes == size) for size in np.unique(sizes).tolist()}
    return {size: (row, data[starts[row] + np.arange(size)[:, None]]) for size, row in rows.items()}


def _hashes(codes: np.ndarray, gone: int, blank: int) -> np.ndarray:
    """Return the hashes of what strings are with so many bytes taken out and so many blank, for every choice of them.

    `codes` uint8 [size, m]; uint64 [choices, m]. A hash is the sum over places j of (byte + 1) · BASE^j modulo 2^64,
    a blank's term is 0.
    """
    size, count = codes.shape
    powers = np.cumprod(np.full((size, 1), BASE, dtype=np.uint64), axis=0)
    terms = [(codes.astype(np.uint64) + np.uint64(1)) * powers]
    for _ in range(gone):  # the terms of bytes behind one, two ... that are taken out
        terms.append(terms[-1] * np.uint64(INVERSE))
    sums = [np.concatenate([np.zeros((1, count), dtype=np.uint64), np.cumsum(each, axis=0)]) for each in terms]
    every = list(combinations(range(size), gone + blank))
    choices = np.array(every, dtype=np.int64).reshape(len(every), gone + blank).T
    hashes = []
    for out in combinations(range(gone + blank), gone):
        ends = [*choices[list(out)], np.full(choices.shape[1], size)]
        total, start = np.zeros((choices.shape[1], count), dtype=np.uint64), 0
        for behind, end in enumerate(ends):
            total += sums[behind][end] - sums[behind][start]
            start = end + 1
        for held in set(range(gone + blank)) - set(out):
            total -= terms[sum(each < held for each in out)][choices[held]]
        hashes.append(total)
    return np.concatenate(hashes)


def _least(keys: np.ndarray, table: np.ndarray, places: np.ndarray, nobody: int) -> np.ndarray:
    """Return for each column of `keys` the least of `places` whose column of `table` has a key in common, or `nobody`.

    `keys` uint64 [k, n], `table` uint64 [t, m], `places` int64 [m]; int64 [n]. A key's last bits give way to the
    place, so that one sort brings the least place of every key to the front.
    """
    found = np.full(keys.shape[1], nobody)
    last = np.uint64((1 << nobody.bit_length()) - 1)
    seen = np.zeros(1 << SIEVE, dtype=bool)
    sieve = np.uint64(64 - SIEVE)
    seen[table >> sieve] = True
    hits = np.flatnonzero(seen[keys >> sieve])
    wanted = keys.ravel()[hits] & ~last
    seen[:] = False
    seen[wanted >> sieve] = True
    known = np.sort(((table & ~last) | places.astype(np.uint64))[seen[table >> sieve]])
    if len(known):
        place = known[np.minimum(np.searchsorted(known, wanted), len(known) - 1)]
        same = (place & ~last) == wanted
        np.minimum.at(found, hits[same] % len(found), (place[same] & last).astype(np.int64))
    return found
