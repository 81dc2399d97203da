"""A linear mixed model of one mean with a random intercept per world: worlds differ, and seeds within a world differ.

We implement it ourselves for two reasons: a suite's page must be the same on every machine, with or without a package
for statistics, and a script of a hundred lines must be able to reproduce it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lada.evaluation.comparison import Effect, over_units, tested

GRID, ZOOMS, TINY = 200, 5, 1e-9
"""The number of shares of the variance that are tried, then again around the best of them, and so on; the last share is
`TINY` below 1."""


@dataclass(frozen=True, slots=True)
class MixedEffect:
    """The mean over worlds, with the variation of worlds and of seeds."""

    effect: Effect
    between: float
    """Standard deviation between worlds."""
    within: float
    """Standard deviation between seeds of a world."""


def mixed_model(worlds: Sequence[Sequence[float]], *, bound: float = 0.0) -> MixedEffect | None:
    """Return the mean of y[i, j] = mean + u[i] + e[i, j] by restricted maximum likelihood. None if there is only one
    world, or if no world has two seeds, since the two variances cannot be separated then.

    `worlds[i][j]` is the value of seed j in world i; worlds may have unequal numbers of seeds. Tests and interval use
    Student's t with one degree of freedom less than there are worlds. If all worlds have equally many seeds and the
    model finds that worlds differ, they equal those of the paired t-test over worlds. Raises ValueError if a world has
    no value, or one that is not finite.
    """
    if not all(len(world) and np.isfinite(world).all() for world in worlds):
        raise ValueError("a world has no value, or one that is not finite; expected finite values of each")
    sizes = np.array([len(world) for world in worlds], np.float64)
    if len(worlds) < 2 or sizes.max() < 2:
        return None
    means = np.array([np.mean(world) for world in worlds])
    inner = float(sum(np.sum((np.asarray(world) - mean) ** 2) for world, mean in zip(worlds, means, strict=True)))
    total, freedom = float(sizes.sum()), len(worlds) - 1
    if inner == 0:  # seeds do not differ, so the likelihood has no maximum
        return MixedEffect(over_units(list(means), bound=bound), float(np.std(means, ddof=1)), 0.0)

    def fitted(share: float) -> tuple[float, float, float, float]:
        """Return minus twice the log-likelihood, the mean, its squared error and the variance of seeds, for a given
        share of the variance that is due to worlds."""
        ratio = share / (1 - share)
        weights = sizes / (1 + ratio * sizes)
        mean = float(weights @ means / weights.sum())
        variance = (inner + float(weights @ (means - mean) ** 2)) / (total - 1)
        deviance = (total - 1) * np.log(variance) + np.log1p(ratio * sizes).sum() + np.log(weights.sum())
        return float(deviance), mean, variance / float(weights.sum()), variance

    from scipy.special import stdtrit  # here, since its import takes as long as many commands

    share, low, high = 0.0, 0.0, 1 - TINY
    for _ in range(ZOOMS):
        shares = np.linspace(low, high, GRID + 1)
        best = int(np.argmin([fitted(share)[0] for share in shares]))
        share, low, high = shares[best], shares[max(0, best - 1)], shares[min(GRID, best + 1)]
    _, mean, squared, variance = fitted(share)
    error = float(np.sqrt(squared))
    half = float(stdtrit(freedom, 0.975)) * error
    effect = tested(mean, error, freedom, bound, mean - half, mean + half)
    return MixedEffect(effect, float(np.sqrt(variance * share / (1 - share))), float(np.sqrt(variance)))
