"""LoRA adapters as low-rank products: averaged as products or padded, and cut to another rank.

An adapted layer computes W + s·B·A with A [rank, in], B [out, rank] and s = alpha / rank. With different ranks, s
differs too. Clients therefore send s·B as B (`scaled`), so that the average is over the true changes of W.

Both averages respect the bounds of lada.aggregators.bounding. Padded factors are held coordinate by coordinate. For
products the coordinates are those of B·A, which are comparable at any rank. Their average is held and then cut to the
rank. The cut changes single coordinates but never increases the norm.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from lada.aggregators.base import Weights
from lada.aggregators.bounding import UNBOUNDED, Bounds, Merged, Outside, bound, moved, scales
from lada.aggregators.coordinates import shares
from lada.core.seeds import generator

A_NAME = re.compile(r"(\.lora_(?:embedding_)?)A\.")
BLOCK = 1 << 22
"""Approximate number of coordinates of all clients' products in memory at a time."""


def pairs(weights: Weights) -> dict[str, str]:
    """Return the name of each layer's B by the name of its A."""
    return {name: A_NAME.sub(r"\1B.", name) for name in weights if A_NAME.search(name)}


def outline(weights: Weights) -> tuple[tuple[str, int, int], ...] | None:
    """Return per layer A's name and its input and output widths, at any rank; None if it is not an adapter."""
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


def average_products(
    weights: Mapping[str, Weights],
    samples: Mapping[str, int],
    starts: Mapping[str, Weights] | None = None,
    bounds: Bounds = UNBOUNDED,
) -> Merged:
    """Return the adapter, of the largest rank, whose products are nearest to Σ p·B·A, float64 (FlexLoRA).

    p is a client's share of all `samples`. By Eckart-Young the nearest is the truncated singular value decomposition
    U·S·Vᵀ. With B = U·√S and A = √S·Vᵀ, the first r columns and rows are the nearest of rank r too. No matrix as large
    as a layer is ever built.

    An update is the difference between a client's products and those that it started from (`starts`). A held average no
    longer has low rank; the nearest is then searched within the span of all clients' factors.
    """
    clients, share, starts = sorted(weights), shares(samples), starts or {}
    by, notices = scales({c: _change(weights[c], starts.get(c)) for c in clients}, bounds.clip)
    holds, outside = bounds.holds(len(clients)), Outside(tuple(clients))
    result = {}
    for a, b in pairs(weights[clients[0]]).items():
        terms = [(share[c] * by[c], weights[c]) for c in clients]
        terms += [(share[c] * (1 - by[c]), starts[c]) for c in clients if by[c] < 1 and c in starts]
        left = np.concatenate([part * each[b].astype(np.float64) for part, each in terms], axis=1)
        right = np.concatenate([each[a].astype(np.float64) for _, each in terms], axis=0)
        rank = max(len(weights[c][a]) for c in clients)
        (q_left, r_left), (q_right, r_right) = np.linalg.qr(left), np.linalg.qr(right.T)
        core = r_left @ r_right.T
        if holds:
            core = np.zeros_like(core)
            for rows in _blocks(len(left), len(clients) * right.shape[1]):
                received = [weights[c][b][rows].astype(np.float64) @ weights[c][a].astype(np.float64) for c in clients]
                held = outside.hold(left[rows] @ right, np.stack(received), holds)
                core += q_left[rows].T @ (held @ q_right)
        result[b], result[a] = _cut(q_left, core, q_right, rank)
    return Merged(result, weights, (*notices, *outside.notices(holds)))


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK // width)
    return (slice(start, start + step) for start in range(0, rows, step))


def _cut(q_left: np.ndarray, core: np.ndarray, q_right: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return B [out, rank] and A [rank, in] with B·A nearest to q_left [out, m] · core [m, n] · q_rightᵀ [n, in]."""
    u, s, v = np.linalg.svd(core, full_matrices=False)
    kept = min(rank, len(s))
    root = np.sqrt(s[:kept])
    b, a = np.zeros((len(q_left), rank)), np.zeros((rank, len(q_right)))
    b[:, :kept] = (q_left @ u[:, :kept]) * root
    a[:kept] = root[:, None] * (v[:kept] @ q_right.T)
    return b, a


def _change(own: Weights, start: Weights | None) -> float:
    """Return the Frobenius norm of an update's products, over all layers; 0 if it is only rounding."""
    if start is None:
        return _product_norm([(1.0, own)])
    return moved(_product_norm([(1.0, own), (-1.0, start)]), _product_norm([(1.0, start)]))


def _product_norm(terms: list[tuple[float, Weights]]) -> float:
    """Return the Frobenius norm of Σ part·B·A, over all layers at once."""
    total = 0.0
    for a, b in pairs(terms[0][1]).items():
        left = np.concatenate([part * each[b].astype(np.float64) for part, each in terms], axis=1)
        right = np.concatenate([each[a].astype(np.float64) for _, each in terms], axis=0)
        (_, r_left), (_, r_right) = np.linalg.qr(left), np.linalg.qr(right.T)
        total += float(np.square(r_left @ r_right.T).sum())
    return total**0.5


def bounded_padded(weights: Mapping[str, Weights], starts: Mapping[str, Weights], bounds: Bounds) -> Merged:
    """Return `average_padded` within the bounds. Adapters and their starts are padded first."""
    sizes = _largest(weights)
    received, began = ({client: _padded(own, sizes) for client, own in each.items()} for each in (weights, starts))
    return replace(bound(received, began, bounds, average_padded), received=weights)


def average_padded(weights: Mapping[str, Weights]) -> dict[str, np.ndarray]:
    """Return the separate averages of A and B, padded with zeros to the largest rank, float64 (HetLoRA).

    A client's share is the Frobenius norm of its B·A over all layers. If all are zero, shares are equal.
    """
    clients = sorted(weights)
    norms = np.array([norm(weights[client]) for client in clients])
    share = norms / norms.sum() if norms.sum() else np.full(len(norms), 1 / len(norms))
    result = {}
    for name, largest in _largest(weights).items():
        total = np.zeros(largest)
        for part, client in zip(share, clients, strict=True):
            array = weights[client][name]
            total[tuple(slice(size) for size in array.shape)] += part * array.astype(np.float64)
        result[name] = total
    return result


def _largest(weights: Mapping[str, Weights]) -> dict[str, tuple[int, ...]]:
    """Return by name the shape that fits all clients' arrays."""
    return {
        name: tuple(max(sizes) for sizes in zip(*(own[name].shape for own in weights.values()), strict=True))
        for name in next(iter(weights.values()))
    }


def _padded(weights: Weights, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {
        name: np.pad(array, [(0, size - have) for size, have in zip(sizes[name], array.shape, strict=True)])
        for name, array in weights.items()
    }


def norm(weights: Weights) -> float:
    """Return the Frobenius norm of an adapter's products, over all layers: √ Σ tr(Bᵀ·B·A·Aᵀ)."""
    total = 0.0
    for a, b in pairs(weights).items():
        A, B = weights[a].astype(np.float64), weights[b].astype(np.float64)
        total += float(((B.T @ B) * (A @ A.T)).sum())
    return max(total, 0.0) ** 0.5


def fit(weights: Weights, own: Weights) -> dict[str, np.ndarray]:
    """Return an adapter with the rank and layers of `own`: cut, or padded with own rows of A and zeros in B."""
    every_b = set(pairs(own).values())
    result = {}
    for name, mine in own.items():
        fitted = np.zeros_like(mine) if name in every_b else mine.copy()
        common = tuple(slice(min(sizes)) for sizes in zip(mine.shape, weights[name].shape, strict=True))
        fitted[common] = weights[name][common]
        result[name] = fitted
    return result


def common_start(own: Weights, seed: int) -> dict[str, np.ndarray]:
    """Return an adapter without effect that is equal, up to its rank, for all who share a seed.

    The rows of A are uniform in ±1/√in, as in LoRA, and the first r are the same at every rank. B is zero.
    """
    result = {}
    for a, b in pairs(own).items():
        rank, width = own[a].shape
        drawn = generator(seed, "common start", a).uniform(-1.0, 1.0, (rank, width)) / width**0.5
        result[a], result[b] = drawn.astype(own[a].dtype), np.zeros_like(own[b])
    return result
