"""Calibration: does a party know when it is right? Compares confidence with accuracy, in bins of equal width."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose confidence is in (low, high]; the first bin also holds confidence 0. All fields except `count`
    are 0..1."""

    low: float
    high: float
    confidence: float
    """Their mean confidence."""
    accuracy: float
    count: int


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> list[Bin]:
    """Return the bins that hold an answer, lowest first, for `confidence` [n] in 0..1 and `right` [n] (0 or 1).

    Guo et al., arXiv 1706.04599, section 2. Raises ValueError if the arrays are empty or differ in length, or if a
    confidence is NaN or outside 0..1.
    """
    confidence, right = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if confidence.ndim != 1 or not len(confidence) or confidence.shape != right.shape:
        raise ValueError(f"confidence has shape {confidence.shape}, right {right.shape}; expected [n] twice, n >= 1")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("a confidence is NaN or outside 0..1")
    edges = np.arange(bins + 1) / bins  # k / bins as Python rounds it, so that 0.3 lies exactly on the edge 3 / 10
    place = np.searchsorted(edges[1:], confidence, side="left")
    return [
        Bin(
            float(edges[k]),
            float(edges[k + 1]),
            float(confidence[place == k].mean()),
            float(right[place == k].mean()),
            int((place == k).sum()),
        )
        for k in np.unique(place).tolist()
    ]


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Return the gap between confidence and accuracy, averaged over the bins by their counts, 0..1.

    Guo et al., arXiv 1706.04599, section 2 (ECE). Arguments and errors as for `reliability`.
    """
    rows = reliability(confidence, right, bins)
    return sum(row.count * abs(row.accuracy - row.confidence) for row in rows) / sum(row.count for row in rows)
