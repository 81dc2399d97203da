"""Cluster the public questions and spread a choice over the clusters."""

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits


def cluster(embeddings: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return a cluster number for each row of `embeddings` [n, d]: k-means on unit vectors, at most n clusters."""
    if not len(embeddings):
        return np.zeros(0, dtype=np.int64)
    from sklearn.cluster import k_means  # takes seconds to import, which commands that only read do not need

    unit = _unit(embeddings)
    count = min(count, len(np.unique(unit, axis=0)))
    with threadpool_limits(1):  # the exact value of a sum depends on the number of threads
        labels = k_means(unit, count, n_init=4, random_state=seed % 2**32)[1]  # pyright: ignore[reportArgumentType]
    return np.asarray(labels, dtype=np.int64)


def centres_of(embeddings: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return the mean unit vector of each cluster, float64 [c, d], for n rows with their `clusters` [n], none empty."""
    unit = _unit(embeddings.astype(np.float64))
    means = [unit[clusters == number].mean(0) for number in np.unique(clusters)]
    return np.array(means).reshape(-1, embeddings.shape[1])


def nearest(embeddings: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the number of the nearest of `centres` [c, d] for each row of `embeddings` [n, d], int64 [n]."""
    unit = _unit(embeddings.astype(np.float64))
    # Row by row: in a matrix product, the result for a row may depend on the number of other rows.
    return np.array([np.square(row - centres).sum(1).argmin() for row in unit], np.int64)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def spread(ranked: Sequence[int], clusters: np.ndarray, budget: int | None) -> list[int]:
    """Deal positions over clusters in turn, best first in each, until `budget` are taken (None: all).

    `ranked` is best first. Each turn visits the clusters in the order of their best member.
    """
    queues: dict[int, list[int]] = {}
    for position in ranked:
        queues.setdefault(int(clusters[position]), []).append(position)
    depth = max(map(len, queues.values()), default=0)
    dealt = [queue[turn] for turn in range(depth) for queue in queues.values() if turn < len(queue)]
    return dealt[:budget]
