"""Finds strings that are a few edits apart, by hashing them without the edited bytes."""

from collections.abc import Sequence
from itertools import combinations, product
from math import comb

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

BASE = 0x9E3779B97F4A7C15
INVERSE = pow(BASE, -1, 2**64)
CHOICES = 128
"""Strings that can be edited in more ways than this are skipped: 16 bytes for two edits."""
ROWS = 2**14
"""How many strings are hashed at once."""
SIEVE = 22
"""The leading bits of a hash that are looked up first: most strings are far from all others."""


def at_distance(strings: Sequence[bytes], others: Sequence[bytes], edits: int) -> np.ndarray:
    """Return for each string the index of the first of `others` at edit distance `edits`; -1 if none was found.

    The result is int64 [n]. No string may be closer than that to any of `others`. The shortest edit between two strings
    deletes, inserts and replaces some bytes. Without the deleted and inserted bytes, and with the replaced ones blank,
    both strings are equal, so they share a hash. Only the smallest index among the hits is measured: if equal hashes
    belong to other strings, the answer is -1, never wrong.
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
    """Return for each size, in bytes, the strings of this size, int64 [m], and their bytes, uint8 [size, m]."""
    sizes = np.fromiter(map(len, strings), np.int64, len(strings))
    starts = np.cumsum(sizes) - sizes
    data = np.frombuffer(b"".join(strings), dtype=np.uint8)
    rows = {size: np.flatnonzero(sizes == size) for size in np.unique(sizes).tolist()}
    return {size: (row, data[starts[row] + np.arange(size)[:, None]]) for size, row in rows.items()}


def _hashes(codes: np.ndarray, gone: int, blank: int) -> np.ndarray:
    """Return the hashes of strings with some bytes deleted and some blank, for every choice of these bytes.

    `codes` uint8 [size, m]; uint64 [choices, m]. A hash is the sum over places j of (byte + 1) · BASE^j modulo 2^64,
    the term of a blank is 0.
    """
    size, count = codes.shape
    powers = np.cumprod(np.full((size, 1), BASE, dtype=np.uint64), axis=0)
    terms = [(codes.astype(np.uint64) + np.uint64(1)) * powers]
    for _ in range(gone):  # the terms of bytes after one, two ... deleted ones
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
    """Return for each column of `keys` the smallest of `places` whose column of `table` shares a key, or `nobody`.

    `keys` uint64 [k, n], `table` uint64 [t, m], `places` int64 [m]; int64 [n]. The place replaces a key's last bits, so
    that one sort brings the smallest place of every key to the front.
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
