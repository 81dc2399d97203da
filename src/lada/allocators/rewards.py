"""What studying a sample was worth. Each reward lies in 0..1 and 0.5 means: nothing gained.

All are asked one round later, when the student's new answers are known; so they cost no forward pass.
"""

import numpy as np


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def relative_drop(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return (before − after) / max(before, after), elementwise; in −1..1. Inputs are >= 0.

    It is 0 where both are 0, or where either is NaN or infinite.
    """
    most = np.maximum(before, after, dtype=np.float64)
    known = (most > 0) & (most < np.inf)
    drop = np.subtract(before, after, out=np.zeros_like(most), where=known)
    return np.divide(drop, most, out=drop, where=known)


def paper_reward(losses_before: np.ndarray, losses_now: np.ndarray) -> float:
    """Return LaDa's reward (arXiv 2602.18749, Eq. 5 and 6, our reading of them).

    S = Σ exp(loss) over the samples selected in a round, under the weights of that round; r = (S' − S) / max(S', S)
    between two rounds, squashed by a sigmoid. `losses_*` are mean token losses (nats) of two selections, which may
    differ in samples and in number: a weakness of the formula that is kept here. Computed in float64.
    """
    before, now = (np.exp(np.asarray(x, dtype=np.float64)).sum() for x in (losses_before, losses_now))
    return float(_sigmoid(relative_drop(np.atleast_1d(before), np.atleast_1d(now)))[0])


def correctness_reward(solved_before: np.ndarray, solved_now: np.ndarray) -> np.ndarray:
    """Return (1 + now − before) / 2 per sample: 1 newly solved, 0 unlearnt, 0.5 no change. Inputs [n] bool."""
    return (1 + solved_now.astype(np.float64) - solved_before.astype(np.float64)) / 2


def probe_reward(
    losses_before: np.ndarray, losses_now: np.ndarray, probe: np.ndarray, clusters: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
    """Return, for each chosen position, σ of the relative loss drop on the probe of its cluster.

    `losses_*`, `probe` (bool) and `clusters` are [n] over all samples; the probe of a cluster is those of its samples
    that were held out. A cluster without a probe gives 0.5. Our reading.
    """
    rewards = np.full(len(chosen), 0.5)
    for number in np.unique(clusters[chosen]):
        held_out = probe & (clusters == number)
        if held_out.any():
            drop = relative_drop(losses_before[held_out].mean(keepdims=True), losses_now[held_out].mean(keepdims=True))
            rewards[clusters[chosen] == number] = _sigmoid(drop)[0]
    return rewards
