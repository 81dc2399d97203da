"""MinED: for each token of one vocabulary the most similar token of another (FuseLLM, FedMKT arXiv 2406.02224)."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from lada.alignment.edits import at_distance
from lada.alignment.nearest import nearest
from lada.core.errors import InputError


def nearest_tokens(source: Sequence[bytes], target: Sequence[bytes]) -> np.ndarray:
    """Return for each source token the target token with the smallest Levenshtein distance over bytes: int32 [source].

    A tie goes to the lexicographically smallest bytes (our reading: compared as unsigned numbers), and among equal
    tokens to the lowest id. Any bytes may be tokens, even the empty string. The result is exact: the same as measuring
    all pairs. Raises InputError if `target` is empty.
    """
    if not len(target):
        raise InputError(
            "vocabulary: the target has no tokens; expected one at least; give the student's whole vocabulary"
        )
    lowest: dict[bytes, int] = {}
    for index, token in enumerate(target):
        lowest.setdefault(token, index)
    rest = list(dict.fromkeys(token for token in source if token not in lowest))
    ranked = sorted(lowest)  # the first of several answers is then the smallest
    chosen = np.full(len(rest), -1)
    hashed = [partial(at_distance, edits=edits) for edits in (1, 2)]
    if 2 * len(rest) < len(ranked):  # searching a few tokens is faster than hashing a large target in pairs of places
        hashed.pop()
    for closest in (*hashed, nearest):
        left = np.flatnonzero(chosen < 0)
        chosen[left] = closest([rest[index] for index in left.tolist()], ranked)
    table = lowest | {token: lowest[ranked[place]] for token, place in zip(rest, chosen.tolist(), strict=True)}
    return np.fromiter((table[token] for token in source), np.int32, len(source))
