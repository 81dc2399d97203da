"""Sparse distributions over tokens, for tests."""

import math

import numpy as np

from lada.core.terms import SparseLogProbs


def rows(*told: dict[int, float]) -> SparseLogProbs:
    """Return distributions that give these probabilities, one dict per position."""
    width = max(map(len, told))
    ids, log_probs = np.zeros((len(told), width), np.int32), np.full((len(told), width), -np.inf, np.float32)
    for row, each in enumerate(told):
        for place, token in enumerate(sorted(each)):
            ids[row, place], log_probs[row, place] = token, math.log(each[token])
    return SparseLogProbs(ids, log_probs)
