"""Finds the exact nearest of many strings by edit distance: most pairs are ruled out in groups, the others measured."""

from collections.abc import Sequence

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from lada.alignment.bags import Groups, bags, bounds, group

GROUP = 32
"""How many strings are ruled out together: fewer give tighter bounds, more use each call better."""
CELLS = 2**26
"""The size of bounds held at once, bytes."""


def nearest(strings: Sequence[bytes], others: Sequence[bytes]) -> np.ndarray:
    """Return for each string the index of the first of `others` with the smallest edit distance: int64 [n].

    `others` is not empty. Time grows with the pairs that the bounds do not rule out, memory with CELLS.
    """
    of, among = bags(strings, others)
    groups = group(among, GROUP)
    texts, targets = np.empty(len(strings), dtype=object), np.empty(len(others), dtype=object)
    texts[:], targets[:] = strings, others
    found = np.empty(len(strings), dtype=np.int64)
    order = np.argsort(of.sizes, kind="stable")  # strings of one length need the same groups
    block = max(CELLS // len(groups.members), 1)
    for start in range(0, len(order), block):
        rows = order[start : start + block]
        found[rows] = _best_first(texts[rows], targets, groups, bounds(of.take(rows), groups))
    return found


def _best_first(texts: np.ndarray, targets: np.ndarray, groups: Groups, bound: np.ndarray) -> np.ndarray:
    """Measure groups in the order of their bounds until the remaining ones cannot hold a better target.

    Texts and targets are bytes objects, `bound` uint8 [g, n]. One number, distance · targets + index, ranks two
    targets; a group's bound and first index give the smallest number that it can contain.
    """
    count = len(targets)
    best = np.full(len(texts), np.iinfo(np.int64).max)
    unsure = np.arange(len(texts))
    low, high = 0, 2  # small steps, since the result of one step saves work in the next
    while len(unsure):
        for members, row in zip(groups.members, bound, strict=True):
            near = np.flatnonzero((row >= low) & (row <= high))
            rows = unsure[near]
            rows = rows[row[near].astype(np.int64) * count + members[0] < best[rows]]
            if not len(rows):
                continue
            keys = process.cdist(
                targets[members].tolist(), texts[rows].tolist(), scorer=Levenshtein.distance, dtype=np.int32
            )
            keys *= len(members)
            keys += np.arange(len(members), dtype=np.int32)[:, None]
            distance, place = np.divmod(keys.min(axis=0), len(members))
            best[rows] = np.minimum(best[rows], distance.astype(np.int64) * count + members[place])
        if high == 255:  # no bound is greater
            break
        left = np.flatnonzero(best[unsure] // count > high)
        unsure, bound = unsure[left], bound.take(left, axis=1)
        low, high = high + 1, min(high + 1 + high // 8, 255)
    return best % count
