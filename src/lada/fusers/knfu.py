"""KnFu (arXiv 2403.11892): each party learns a mixture of its own, mostly from parties that predict as it does.

Each member j has an estimated distribution D_j over the labels, here over the tokens. Receiver k learns

    p̄_k(x) = Σ_j w_kj p_j(x),      w_kj = exp(-β d(D_k, D_j)) / Σ_i exp(-β d(D_k, D_i)),      β = 10

Sources: summaries of the paper, which have the four steps of a round, the estimated distributions and β = 10. How a
distribution is estimated and the distance d are not in them, so both are options (our reading). The paper itself
concludes that clients with much data that differ a lot do better alone; a notice gives this advice.
"""

import operator
from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from lada.core.needs import State
from lada.core.plural import counted
from lada.core.registry import Options
from lada.core.seeds import next_draw
from lada.core.terms import SparseLogProbs
from lada.fusers.base import FUSERS, Fuser, Weights


class KnFuOptions(Options):
    """Options of KnFu. The paper's mixture is of probabilities: `host.options.average: probabilities`."""

    beta: float = Field(default=10.0, ge=0, le=1e6)
    """How fast a member's weight falls with its distance, β. With 0, all members have the same weight."""
    estimate: Literal["predictions", "counts"] = "predictions"
    """A member's distribution: the mean of its `predictions` at all tokens of the public texts, or how often it finds
    each token the likeliest (`counts`)."""
    distance: Literal["kl", "js"] = "kl"
    """The Kullback-Leibler divergence of a member's distribution from the receiver's, or the Jensen-Shannon divergence,
    in nats."""
    alone: float = Field(default=0.95, gt=0, le=1)
    """A notice advises a party to train alone if its own predictions have at least this weight in what it learns."""
    shuffled: bool = Field(default=False, exclude_if=operator.not_)
    """A control for benchmarks: the weights of each mixture are assigned to its members at random. They are the same
    numbers, but no longer those of members that predict alike."""


@FUSERS.register(
    "knfu",
    options=KnFuOptions,
    paper="arXiv 2403.11892",
    status="our reading",
    level="second-hand",
    tags=("feature", "divergence"),
)
class KnFu(Fuser):
    """A mixture of all distributions for each party, in which members that predict alike weigh more.

    It needs a host that averages distributions (`fedmd`). A party that predicts nothing learns the plain mean.
    """

    weighs = True

    def __init__(self, options: KnFuOptions) -> None:
        self.options = options

    def init(self, seed: int) -> State:
        """Return an empty state; with `shuffled`, the seed of the next assignment."""
        return {"seed": np.array(seed)} if self.options.shuffled else {}

    def weigh(
        self, state: State, members: Mapping[str, Mapping[str, SparseLogProbs]], vocabulary_size: int
    ) -> tuple[State, Weights]:
        """See Fuser.weigh."""
        estimates = {
            name: found
            for name in sorted(members)
            if (found := estimate(members[name], vocabulary_size, self.options.estimate)) is not None
        }
        names, notices = list(estimates), []
        if silent := [name for name in sorted(members) if name not in estimates]:
            notices.append(f"{', '.join(silent)} predicted nothing, and learns the plain mean of the others")
        if not names:
            return state, Weights({}, tuple(notices))
        matrix = weights(np.array(list(estimates.values())), self.options.beta, self.options.distance)
        if self.options.shuffled:
            state, rng = next_draw(state)
            matrix = rng.permuted(matrix, axis=1)
        own = dict(zip(names, np.diag(matrix).tolist(), strict=True))
        notices.append(
            f"of {counted(len(names), 'mixture')}, the receiver's own predictions make up {min(own.values()):.1%} to "
            f"{max(own.values()):.1%}"
        )
        notices += [
            f"{name} may do better alone: its own predictions make up {share:.1%} of what it learns"
            for name, share in own.items()
            if share >= self.options.alone and len(names) > 1 and not self.options.shuffled
        ]
        of = {name: dict(zip(names, row, strict=True)) for name, row in zip(names, matrix.tolist(), strict=True)}
        return state, Weights(of, tuple(notices))


def estimate(
    predictions: Mapping[str, SparseLogProbs], size: int, how: Literal["predictions", "counts"]
) -> np.ndarray | None:
    """Return a member's distribution over `size` tokens, float64 [size]; None if it predicts nothing.

    The probability that a row leaves to tokens that it does not name is spread evenly over them.
    """
    total, rows = np.zeros(size), 0
    for name in sorted(predictions):
        each = predictions[name]
        named = ~np.isneginf(each.log_probs)
        told = named.any(1)
        rows += int(told.sum())
        if how == "counts":
            best = np.take_along_axis(each.ids, each.log_probs.argmax(1)[:, None], 1)[told, 0]
            total += np.bincount(best, minlength=size)
            continue
        probabilities = np.where(named, np.exp(each.log_probs.astype(np.float64)), 0.0)
        unnamed = size - named.sum(1)
        tails = np.maximum(1 - probabilities.sum(1), 0.0) / np.maximum(unnamed, 1) * ((unnamed > 0) & told)
        total += tails.sum() + np.bincount(each.ids[named], (probabilities - tails[:, None])[named], minlength=size)
    total = np.maximum(total, 0.0)
    return total / total.sum() if rows else None


def weights(distributions: np.ndarray, beta: float, distance: Literal["kl", "js"]) -> np.ndarray:
    """Return the weights of members (columns) for receivers (rows), float64 [m, m]; each row has the sum 1.

    `distributions` [m, size] have the sum 1 in each row. A member that rules out what the receiver predicts has an
    infinite divergence by `kl`, and no weight.
    """
    count = len(distributions)
    apart = np.zeros((count, count))
    for k, mine in enumerate(distributions):
        for j, its in enumerate(distributions):
            middle = (mine + its) / 2
            apart[k, j] = kl(mine, its) if distance == "kl" else kl(mine, middle) / 2 + kl(its, middle) / 2
    near = np.exp(-beta * np.maximum(apart, 0.0)) if beta else np.ones_like(apart)  # 0 times inf would be NaN
    return near / near.sum(1, keepdims=True)


def kl(p: np.ndarray, q: np.ndarray) -> float:
    """Return KL(p || q) in nats for distributions [size]; inf if q is 0 where p is not."""
    known = p > 0
    with np.errstate(divide="ignore"):
        return float(np.sum(p[known] * (np.log(p[known]) - np.log(q[known]))))
