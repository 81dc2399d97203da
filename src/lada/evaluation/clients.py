"""Figures over the clients of one run: fairness, and what their accuracy goes together with."""

from collections.abc import Sequence
from typing import Any

import numpy as np

FEWEST = 3
"""Number of clients below which ranks say nothing."""


def worst_tenth(values: Sequence[float]) -> float:
    """Return the mean of the lowest tenth of `values`, rounded up, so at least one.

    It is the usual measure of fairness among clients (arXiv 1905.10497; the survey arXiv 2503.12016). Raises ValueError
    if there are none.
    """
    if not len(values):
        raise ValueError("there are no values; expected one per client")
    return float(np.mean(sorted(values)[: -(-len(values) // 10)]))


def rank_correlation(a: Sequence[float | None], b: Sequence[float | None]) -> float | None:
    """Return Spearman's rank correlation of two figures of the same clients, -1..1, over those that have both.

    None for fewer than three clients, and if all have the same value. Raises ValueError for different lengths.
    """
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if len(pairs) < FEWEST or any(len(set(values)) < 2 for values in zip(*pairs, strict=True)):
        return None
    from scipy.stats import spearmanr  # here, since it takes as long to import as many a command to run

    one, other = zip(*pairs, strict=True)
    correlation: Any = spearmanr(one, other)
    return float(correlation.statistic)
