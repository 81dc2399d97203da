"""Membership inference: can somebody who holds a model find out which samples it studied?"""

import numpy as np

from lada.core.results import Membership
from lada.evaluation.ranking import auc

CHUNK = 1 << 20
"""The most counts that are in memory at once."""
FALSE_POSITIVES = 0.01
ATTACKS = ("loss", "gain")
"""The attacks: by a model's loss, and by how far the loss fell during its studies."""
MOST = 2000
"""The most samples of either side that are scored."""


def membership(
    members: np.ndarray, others: np.ndarray, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float, float, float]:
    """Return (AUC, low, high, TPR at 1 % FPR) of an attack whose score is higher for likely members.

    The attack on a model's loss is that of Yeom et al. 2018 (arXiv 1709.01604): score = -loss. `members` [m] and
    `others` [n] are finite scores. The AUC is 0.5 if the score is uninformative; ties count half. Its percentile
    bootstrap interval resamples members and others separately; it depends on `seed`, not on their order. The last
    number is the largest share of members above a threshold that at most 1 % of the others reach. It matters for an
    attacker who must be certain (Carlini et al. 2022, arXiv 2112.03570). With fewer than 100 others, no other may reach
    the threshold.

    Raises ValueError if there are no members or no others, or if a score is not finite.
    """
    members, others = np.asarray(members, np.float64), np.asarray(others, np.float64)
    if not (members.ndim == others.ndim == 1 and len(members) and len(others)):
        raise ValueError(f"scores of shapes {members.shape} and {others.shape}; expected [m] and [n] of at least one")
    scores = np.concatenate([members, others])
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinity; expected finite numbers")
    value = auc(scores, np.arange(len(scores)) < len(members))
    assert value is not None
    distinct = np.unique(scores)
    counts = [np.bincount(np.searchsorted(distinct, side), minlength=len(distinct)) for side in (members, others)]
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK // len(distinct))
    drawn = []
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn.append(_auc(*(generator.multinomial(side.sum(), side / side.sum(), size=size) for side in counts)))
    low, high = np.quantile(np.concatenate(drawn), ((1 - level) / 2, (1 + level) / 2))
    reached = [side[::-1].cumsum() / side.sum() for side in counts]
    sure = reached[0][reached[1] <= FALSE_POSITIVES]
    return value, float(low), float(high), float(sure.max(initial=0.0))


def _auc(members: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the AUC of each row of counts [rows, distinct scores, ascending]."""
    below = others.cumsum(1) - others / 2  # ties count half
    return (members * below).sum(1) / (members.sum(1) * others.sum(1))


def record(party: str, round: int, attack: str, members: np.ndarray, others: np.ndarray, *, seed: int) -> Membership:
    """Return `membership` as a record of the results, with four decimals."""
    value, low, high, sure = (round_to(x) for x in membership(members, others, seed=seed))
    return Membership(
        party=party, round=round, attack=attack, auc=value, low=low, high=high, tpr=sure,
        members=len(members), others=len(others),
    )  # fmt: skip


def round_to(value: float) -> float:
    """Return a number rounded to the decimals that are kept."""
    return round(value, 4)
