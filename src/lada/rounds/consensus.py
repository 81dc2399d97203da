"""The joint prediction of several parties for the tokens of one text: the mean of their distributions.

A party names the likeliest tokens of a position. The rest of its probability is spread evenly over all other tokens, so
that parties that name different tokens have a mean too. The mean may be sharpened. No array as wide as the vocabulary
is held.
"""

from collections.abc import Sequence

import numpy as np

from lada.core.terms import SparseLogProbs
from lada.rounds.options import Average

TAIL = 1e-7
"""Minimum mass that a party leaves for tokens that it does not name; float32 rounds less to zero."""
LEAST = -4000.0
"""Minimum log-prob of a consensus, nats: the smallest that the codec of soft targets can write."""


def consensus(
    members: Sequence[SparseLogProbs],
    own: np.ndarray,
    *,
    vocabulary_size: int,
    k: int,
    average: Average,
    temperature: float = 1.0,
    weights: Sequence[float] | None = None,
) -> SparseLogProbs:
    """Return the members' joint prediction for the n tokens `own` int [n] of a text: full rows [n, k].

    Each member has n rows over the same vocabulary, of any width. An empty row says nothing about its position.
    `probabilities` is their mean. `logits` is the softmax of the mean of their logits, which is their normalised
    geometric mean (FedMD, arXiv 1910.03581). Either is then raised to the power 1 / `temperature` (> 0) and normalised;
    below 1 it gets sharper. This is our reading of DS-FL's entropy reduction (arXiv 2008.06180), a softmax of
    probabilities over the temperature, which would flatten a distribution over thousands of tokens.

    With `weights`, one per member (> 0), both means are weighted.

    A row has the likeliest tokens, ties by id, and the text's own. If no member says anything, it has only that. The
    order of the members does not matter, bit-for-bit. `k` is at most the vocabulary's size.
    """
    ids = _named(members, own, vocabulary_size, k)
    named = ids < vocabulary_size
    rest = vocabulary_size - named.sum(1)
    counts = np.where(np.append(named, rest[:, None] > 0, axis=1), 1.0, 0.0)
    counts[:, -1] = rest  # the last column stands for all tokens that nobody names
    said = np.stack([_completed(member, ids, vocabulary_size) for member in members])  # [members, n, u + 1]
    shares = np.ones(len(members)) if weights is None else np.asarray(weights, np.float64)
    if average == "logits":
        merged = _mean(said, shares)
    else:
        with np.errstate(divide="ignore"):
            merged = np.log(_mean(np.exp(said), shares))
    powered = merged / temperature
    log_probs = powered - _log_sum(powered, counts)
    silent = np.isnan(said).all((0, 2))
    is_own = ids == own[:, None]
    log_probs[silent, :-1] = np.where(is_own[silent], 0.0, LEAST)
    kept = np.lexsort((ids, -np.where(is_own, np.inf, np.where(named, log_probs[:, :-1], -np.inf))), axis=1)[:, :k]
    kept = np.take_along_axis(kept, np.argsort(np.take_along_axis(ids, kept, 1), axis=1), 1)
    chosen = np.take_along_axis(log_probs[:, :-1], kept, 1).clip(LEAST, 0)
    return SparseLogProbs(np.take_along_axis(ids, kept, 1).astype(np.int32), chosen.astype(np.float32))


def loss(member: SparseLogProbs, own: np.ndarray, vocabulary_size: int) -> float:
    """Return a member's loss on the tokens `own` int [n] of a text, nats per token; NaN if it says nothing."""
    said = _completed(member, own[:, None].astype(np.int64), vocabulary_size)[:, 0]
    known = said[~np.isnan(said)]
    return -float(known.mean()) if len(known) else float("nan")


def _named(members: Sequence[SparseLogProbs], own: np.ndarray, size: int, k: int) -> np.ndarray:
    """Return per position, ascending, all ids that a member names, the own one and the first k; then `size` [n, u]."""
    first = np.broadcast_to(np.arange(k), (len(own), k))  # so that there are k of them, whoever names how many
    received = [np.where(np.isneginf(member.log_probs), size, member.ids) for member in members]
    ids = np.sort(np.concatenate([*received, own[:, None], first], axis=1).astype(np.int64), axis=1)
    ids[:, 1:][ids[:, 1:] == ids[:, :-1]] = size
    return np.sort(ids, axis=1)


def _completed(member: SparseLogProbs, ids: np.ndarray, size: int) -> np.ndarray:
    """Return a member's log-probs of `ids` [n, u] and of any other token, [n, u + 1]; NaN if it says nothing."""
    used = ~np.isneginf(member.log_probs)
    log_probs = np.where(used, member.log_probs, -np.inf).astype(np.float64)
    unnamed = size - used.sum(1)
    tail = np.maximum(1 - np.exp(log_probs).sum(1), TAIL)
    share = np.where(unnamed > 0, np.log(tail / np.maximum(unnamed, 1)), -np.inf)
    same = (member.ids[:, None, :] == ids[:, :, None]) & used[:, None, :]
    received = np.where(same, log_probs[:, None, :], -np.inf).max(2, initial=-np.inf)
    completed = np.append(np.where(same.any(2), received, share[:, None]), share[:, None], axis=1)
    completed[~used.any(1)] = np.nan
    return completed


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis, by `weights` [members] (> 0), without NaN; NaN if all are.

    Sorting makes it independent of order.
    """
    known, each = ~np.isnan(values), weights[:, None, None]
    total = np.sort(np.where(known, each * np.where(known, values, 0.0), 0.0), axis=0).sum(0)
    whole = np.sort(np.where(known, each, 0.0), axis=0).sum(0)
    return np.where(whole > 0, total / np.where(whole > 0, whole, 1.0), np.nan)


def _log_sum(log_values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return log Σ counts · exp(log_values) of each row [n, 1]."""
    used = np.where(counts > 0, log_values, -np.inf)
    greatest = used.max(1, keepdims=True)
    return greatest + np.log((counts * np.exp(used - greatest)).sum(1, keepdims=True))
