"""LoRA adapters as the low-rank products that they are: averaged by product or padded, and cut to another rank.

An adapted layer computes W + s·B·A with A [rank, in], B [out, rank] and s = alpha / rank. Where ranks differ, s does
too; so clients send s·B for B (`scaled`), and what is averaged here are the true changes of W.
"""

import re
from collections.abc import Mapping

import numpy as np

from lada.core.seeds import generator
from lada.hosts.aggregating import Weights, shares

A_NAME = re.compile(r"(\.lora_(?:embedding_)?)A\.")


def pairs(weights: Weights) -> dict[str, str]:
    """Return the name of each layer's B by the name of its A."""
    return {name: A_NAME.sub(r"\1B.", name) for name in weights if A_NAME.search(name)}


def outline(weights: Weights) -> tuple[tuple[str, int, int], ...] | None:
    """Return per layer its A's name and how much goes in and out, whatever the rank; None for what is no adapter."""
    found = pairs(weights)
    if not found or {*found, *found.values()} != set(weights):
        return None
    rows = []
    for a, b in sorted(found.items()):
        if weights[a].ndim != 2 or weights[b].ndim != 2 or weights[a].shape[0] != weights[b].shape[1]:
            return None
        rows.append((a, weights[a].shape[1], weights[b].shape[0]))
    return tuple(rows)


def scaled(weights: Weights, factor: float) -> dict[str, np.ndarray]:
    """Return an adapter with each B multiplied by `factor`."""
    every_b = set(pairs(weights).values())
    return {name: (array * factor).astype(array.dtype) if name in every_b else array for name, array in weights.items()}


def average_products(weights: Mapping[str, Weights], samples: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return the adapter whose products come nearest to Σ p·B·A, float64, of the largest rank (FlexLoRA).

    p is a client's share of all `samples`. By Eckart-Young that is the truncated singular value decomposition U·S·Vᵀ:
    of B = U·√S and A = √S·Vᵀ the first r columns and rows are the nearest of rank r too. No matrix as large as a layer
    is ever built.
    """
    clients, share = sorted(weights), shares(samples)
    result = {}
    for a, b in pairs(weights[clients[0]]).items():
        left = np.concatenate([share[c] * weights[c][b].astype(np.float64) for c in clients], axis=1)
        right = np.concatenate([weights[c][a].astype(np.float64) for c in clients], axis=0)
        rank = max(len(weights[c][a]) for c in clients)
        result[b], result[a] = _nearest(left, right, rank)
    return result


def _nearest(left: np.ndarray, right: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return B [out, rank] and A [rank, in] with B·A nearest to left [out, n] · right [n, in]."""
    (q_left, r_left), (q_right, r_right) = np.linalg.qr(left), np.linalg.qr(right.T)
    u, s, v = np.linalg.svd(r_left @ r_right.T, full_matrices=False)
    kept = min(rank, len(s))
    root = np.sqrt(s[:kept])
    b, a = np.zeros((len(left), rank)), np.zeros((rank, right.shape[1]))
    b[:, :kept] = (q_left @ u[:, :kept]) * root
    a[:kept] = root[:, None] * (v[:kept] @ q_right.T)
    return b, a


def average_padded(weights: Mapping[str, Weights]) -> dict[str, np.ndarray]:
    """Return the average of A and of B apart, padded with zeros to the largest rank, float64 (HetLoRA).

    A client's share is the Frobenius norm of its B·A, over all layers at once; alike where all are zero.
    """
    clients = sorted(weights)
    norms = np.array([norm(weights[client]) for client in clients])
    share = norms / norms.sum() if norms.sum() else np.full(len(norms), 1 / len(norms))
    result = {}
    for name in weights[clients[0]]:
        largest = tuple(max(sizes) for sizes in zip(*(weights[client][name].shape for client in clients), strict=True))
        total = np.zeros(largest)
        for part, client in zip(share, clients, strict=True):
            array = weights[client][name]
            total[tuple(slice(size) for size in array.shape)] += part * array.astype(np.float64)
        result[name] = total
    return result


def norm(weights: Weights) -> float:
    """Return the Frobenius norm of an adapter's products, over all layers: √ Σ tr(Bᵀ·B·A·Aᵀ)."""
    total = 0.0
    for a, b in pairs(weights).items():
        A, B = weights[a].astype(np.float64), weights[b].astype(np.float64)
        total += float(((B.T @ B) * (A @ A.T)).sum())
    return max(total, 0.0) ** 0.5


def fit(weights: Weights, own: Weights) -> dict[str, np.ndarray]:
    """Return an adapter of the rank of `own`, of the same layers: cut, or with rows of own A beside a B of zeros."""
    every_b = set(pairs(own).values())
    result = {}
    for name, mine in own.items():
        fitted = np.zeros_like(mine) if name in every_b else mine.copy()
        common = tuple(slice(min(sizes)) for sizes in zip(mine.shape, weights[name].shape, strict=True))
        fitted[common] = weights[name][common]
        result[name] = fitted
    return result


def common_start(own: Weights, seed: int) -> dict[str, np.ndarray]:
    """Return an adapter that changes nothing yet and is the same for all who share a seed, but for its rank.

    The rows of A are uniform in ±1/√in, as LoRA draws them, and the first r are the same at every rank; B is zero.
    """
    result = {}
    for a, b in pairs(own).items():
        rank, width = own[a].shape
        drawn = generator(seed, "common start", a).uniform(-1.0, 1.0, (rank, width)) / width**0.5
        result[a], result[b] = drawn.astype(own[a].dtype), np.zeros_like(own[b])
    return result
