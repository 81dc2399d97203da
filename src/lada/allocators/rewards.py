"""The value of a choice according to the losses of its samples, as in LaDa's paper."""

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(−x)), elementwise."""
    from scipy.special import expit  # here, since reading options does not need it

    return expit(x)


def relative_drop(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return (before − after) / max(before, after), elementwise, in −1..1. Inputs are >= 0.

    It is 0 if both are 0, or if either is NaN or infinite.
    """
    most = np.maximum(before, after, dtype=np.float64)
    known = (most > 0) & (most < np.inf)
    drop = np.subtract(before, after, out=np.zeros_like(most), where=known)
    return np.divide(drop, most, out=drop, where=known)


def paper_reward(losses_before: np.ndarray, losses_now: np.ndarray) -> float:
    """Return LaDa's reward (arXiv 2602.18749, our reading of Eq. 5 and 6).

    S = Σ exp(loss) over the samples selected in a round, under the weights of that round; r = (S' − S) / max(S', S)
    between two rounds, squashed by a sigmoid. `losses_*` are mean token losses (nats) of two selections. They may
    differ in samples and in number, a weakness of the formula that we keep. Computed in float64.
    """
    before, now = (np.exp(np.asarray(x, dtype=np.float64)).sum() for x in (losses_before, losses_now))
    return float(sigmoid(relative_drop(np.atleast_1d(before), np.atleast_1d(now)))[0])
