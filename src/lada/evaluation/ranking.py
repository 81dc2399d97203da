"""The quality of a ranking by a score."""

import numpy as np


def auc(score: np.ndarray, positive: np.ndarray) -> float | None:
    """Return the probability that a random positive outscores a random negative (0..1); ties count half.

    The area under the ROC curve in its rank form (Hanley and McNeil 1982; the Mann-Whitney statistic), for `score` [n]
    and `positive` [n] bool. None if one class is empty. Raises ValueError for NaN or different lengths.
    """
    score, positive = np.asarray(score, dtype=np.float64), np.asarray(positive, dtype=bool)
    if score.ndim != 1 or score.shape != positive.shape:
        raise ValueError(f"score has shape {score.shape}, positive {positive.shape}; expected [n] twice")
    if np.isnan(score).any():
        raise ValueError("a score is NaN")
    found = int(positive.sum())
    missed = len(score) - found
    if not found or not missed:
        return None
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # from 1; equal scores share their mean rank
    return float((ranks[positive].sum() - found * (found + 1) / 2) / (found * missed))
