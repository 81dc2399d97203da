"""Which answers are right, estimated from the parties alone, as annotator models estimate it from annotators.

Each party is an annotator with one reliability per cluster of questions: r = P(its answer is right). With K possible
answers, a wrong answer is any of the K - 1 others with equal probability. For a question with the votes v_j, a uniform
prior over answers gives

    P(a is right | votes) ∝ Π_{j: v_j = a} r_j · Π_{j: v_j ≠ a} (1 - r_j) / (K - 1) · exp(evidence of a)

The answers that nobody gave compete too, each with no vote. `Estimate` alternates between these posteriors and the
reliabilities that follow from them (expectation maximisation).

The evidence is from log-probs. Each judge's log-probs of each writer's paths are standardised within a cluster. They
are taken for normal, with two means m₁ (right paths), m₀ (wrong ones) and one variance s², whose log-likelihood ratio
is β (z - (m₁ + m₀) / 2) with β = (m₁ - m₀) / s². An answer's evidence is the mean ratio over the paths that end in it.

Source: Dawid and Skene, Applied Statistics 28(1), 1979, with one number in place of a matrix of confusions. Ours: the
answers nobody gave, the prior of a cluster, the evidence and all bounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lada.allocators.reviews import NOTHING, Reviews

FEWEST = 10
"""Log-probs of one judge and writer that tell something: a cluster with fewer is standardised with all others."""
FAR = 3.0
"""The most standard deviations, and nats of evidence, that a log-prob counts for; and the largest slope β."""
LEAST = -1e4
"""The least log-prob that counts, nats per byte: no model gives a token less."""
SUREST = 0.99
"""The largest reliability. The smallest is that of a guess, 1 / K, so that a liar is ignored and never inverted."""
ENOUGH = 3
"""Parties whose votes tell how reliable each of them is."""
STEPS, CLOSE = 100, 1e-9
"""The most steps, and the change of a posterior at which they end."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is assumed before anything is seen."""

    answers: int = 10
    """K, at least 2."""
    reliability: float = 0.6
    """Of each party."""
    strength: float = 10.0
    """Answers that the assumption counts for: of a party, and of a party's mean within a cluster."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """`posterior` [n, p]: how likely each party's answer is right, 0 without one; `reliability` [c, p] by cluster."""

    posterior: np.ndarray
    reliability: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """Answers of p parties to n questions, as tables [n, p] with a column for each number of an answer."""

    answers: np.ndarray
    given: np.ndarray = field(init=False)
    counts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", self.answers != NOTHING)
        object.__setattr__(self, "counts", self.by_answer(self.given.astype(np.float64)))

    def by_answer(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of the parties' `values` [n, p] by answer [n, p]."""
        n, p = self.answers.shape
        flat = (np.arange(n)[:, None] * p + self.answers)[self.given]
        return np.bincount(flat, values[self.given], n * p).reshape(n, p)

    def by_party(self, table: np.ndarray) -> np.ndarray:
        """Return a table's [n, p] value of each party's answer [n, p]; 0 without one."""
        return np.where(self.given, np.take_along_axis(table, np.maximum(self.answers, 0), 1), 0.0)


def standardised(reviews: Reviews, clusters: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Return log-probs in standard deviations from the mean of their judge, writer and cluster, within ±FAR; else NaN.

    Paths without an answer are left out, and so are log-probs that are not in LEAST..0. Where all are equal, each is 0.
    """
    found = {}
    for (judge, writer), log_probs in sorted(reviews.log_probs.items()):
        known = (log_probs >= LEAST) & (log_probs <= 0) & (reviews.answers[:, writer] != NOTHING)
        z = np.full(len(log_probs), np.nan)
        for cluster in np.unique(clusters):
            rows = known & (clusters == cluster)
            among = log_probs[rows if rows.sum() >= FEWEST else known]
            if rows.any():
                deviation = among.std()
                z[rows] = (log_probs[rows] - among.mean()) / deviation if deviation > CLOSE else 0.0
        found[judge, writer] = np.clip(z, -FAR, FAR)
    return found


def ratios(z: Mapping[tuple[int, int], np.ndarray], posterior: np.ndarray | None) -> dict[tuple[int, int], np.ndarray]:
    """Return the log-likelihood ratio of right and wrong paths for log-probs `z`, nats within ±FAR; NaN if unknown.

    `posterior` [n, p] says how likely each party's path is right. None: the slope is 1, and the middle 0.
    """
    found = {}
    for (judge, writer), each in z.items():
        slope, middle = (1.0, 0.0) if posterior is None else _line(each, posterior[:, writer])
        found[judge, writer] = np.clip(slope * (each - middle), -FAR, FAR)
    return found


def _line(z: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Return slope and middle of a judge's ratio; 0 if its log-probs are few or lower for right paths."""
    known = np.isfinite(z)
    z, right = z[known], right[known]
    weights = right.sum(), (1 - right).sum()
    if len(z) < FEWEST or min(weights) < 1:
        return 0.0, 0.0
    means = (right * z).sum() / weights[0], ((1 - right) * z).sum() / weights[1]
    variance = (right * (z - means[0]) ** 2 + (1 - right) * (z - means[1]) ** 2).sum() / len(z)
    slope = (means[0] - means[1]) / max(variance, CLOSE)
    return float(np.clip(slope, 0, FAR)), float(sum(means) / 2)


def estimate(
    reviews: Reviews, clusters: np.ndarray, prior: Prior, *, learn: bool, likelihood: bool, votes: bool
) -> Estimate:
    """Return how likely each answer is right, for questions of `clusters` int [n], numbered from 0.

    Without `learn`, reliabilities are the prior's, and β is 1. Without `likelihood` there is no evidence. Without
    `votes`, each answer is judged alone: its log-odds are those of its writer's reliability, plus its evidence.
    """
    question, count = _Question(reviews.answers), int(clusters.max(initial=-1)) + 1
    z = standardised(reviews, clusters) if likelihood else {}
    reliability = np.full((count, len(reviews.parties)), prior.reliability)
    evidence = np.zeros(reviews.answers.shape) if learn else _evidence(question, ratios(z, None))
    posterior = _posterior(question, reliability[clusters], evidence, prior.answers)
    for _ in range(STEPS if learn else 0):
        before = posterior
        reliability = _reliability(question.given, posterior, clusters, count, prior)
        evidence = _evidence(question, ratios(z, posterior))
        posterior = _posterior(question, reliability[clusters], evidence, prior.answers)
        if np.abs(posterior - before).max(initial=0.0) < CLOSE:
            break
    if not votes:
        own = reliability[clusters]
        odds = np.log(own / (1 - own)) + question.by_party(evidence)
        posterior = np.where(question.given, 1 / (1 + np.exp(-odds)), 0.0)
    return Estimate(posterior, reliability)


def _evidence(question: _Question, ratios: Mapping[tuple[int, int], np.ndarray]) -> np.ndarray:
    """Return the mean ratio of the paths that end in each answer [n, p]; 0 if none is known."""
    sums, counts = np.zeros(question.answers.shape), np.zeros(question.answers.shape)
    for (_, writer), each in ratios.items():
        sums[:, writer] += np.nan_to_num(each)
        counts[:, writer] += np.isfinite(each)
    return question.by_answer(sums) / np.maximum(question.by_answer(counts), 1)


def _posterior(question: _Question, reliability: np.ndarray, evidence: np.ndarray, answers: int) -> np.ndarray:
    """Return how likely each party's answer is right [n, p]; all are relative to an answer that nobody gave."""
    votes = np.log(reliability) - np.log((1 - reliability) / (answers - 1))
    given = question.counts > 0
    logits = np.where(given, question.by_answer(votes) + evidence, -np.inf)
    highest = logits.max(1, keepdims=True, initial=0.0)  # or many votes would overflow
    weights, nobody = np.exp(logits - highest), np.exp(-highest)
    total = weights.sum(1, keepdims=True) + nobody * np.maximum(answers - given.sum(1, keepdims=True), 0)
    return question.by_party(weights / np.maximum(total, np.finfo(np.float64).tiny))


def _reliability(
    given: np.ndarray, posterior: np.ndarray, clusters: np.ndarray, count: int, prior: Prior
) -> np.ndarray:
    """Return each party's share of right answers [c, p], drawn to its mean over all clusters, and that to the prior.

    Of two parties alone, both count as equally reliable: votes cannot tell who is right where they differ.
    """
    right, asked = (np.zeros((count, given.shape[1])) for _ in range(2))
    np.add.at(right, clusters, posterior)
    np.add.at(asked, clusters, given)
    if given.shape[1] < ENOUGH:
        right, asked = (np.broadcast_to(each.mean(1, keepdims=True), each.shape) for each in (right, asked))
    strength = prior.strength
    overall = (strength * prior.reliability + right.sum(0)) / (strength + asked.sum(0))
    shares = (strength * overall + right) / (strength + asked)
    return np.clip(shares, 1 / prior.answers, SUREST)
