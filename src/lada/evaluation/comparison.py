"""Whether one method is better than another: paired over seeds and questions, corrected for how many are compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Effect:
    """A difference in points with its 95 % bootstrap interval, and the two-sided p-value of no difference."""

    value: float
    low: float
    high: float
    p: float


def resampled_means(differences: Sequence[np.ndarray], *, seed: int, resamples: int) -> np.ndarray:
    """Return means over seeds and, within a seed, over questions: a two-stage bootstrap, float64 [resamples].

    `differences[s]` [n_s] holds one value per question of seed s, each of both methods on that question. Seeds are
    drawn with replacement and within each drawn seed its questions, anew for each time that the seed is drawn (Davison
    and Hinkley, "Bootstrap methods and their application", 1997, section 3.8). As in `bootstrap_interval`, how often
    each distinct value turns up is drawn in the place of positions.
    """
    generator = np.random.default_rng(seed)
    count = len(differences)
    drawn = generator.integers(count, size=(resamples, count))
    means = np.empty((resamples, count))
    for place, values in enumerate(differences):
        distinct, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
        taken = drawn == place
        many = generator.multinomial(counts.sum(), counts / counts.sum(), size=int(taken.sum()))
        means[taken] = many @ distinct / counts.sum()
    return means.mean(axis=1)


def effect(strata: Sequence[Sequence[np.ndarray]], *, seed: int, resamples: int = 10_000) -> Effect:
    """Return the mean difference over strata, such as scenarios, each of which counts alike.

    `strata[i][s]` are the differences of seed s, as `resampled_means` takes them. The p-value is twice the share of
    resampled means on the other side of zero, counting the one observed. Raises ValueError where there is nothing, or
    a value that is not finite.
    """
    if not strata or not all(len(seeds) and all(len(values) for values in seeds) for seeds in strata):
        raise ValueError("nothing to compare; expected at least one stratum, seed and question")
    if not all(np.isfinite(values).all() for seeds in strata for values in seeds):
        raise ValueError("differences hold NaN or infinity; expected finite numbers")
    value = float(np.mean([np.mean([np.mean(values) for values in seeds]) for seeds in strata]))
    means = np.mean(
        [resampled_means(seeds, seed=seed + place, resamples=resamples) for place, seeds in enumerate(strata)],
        axis=0,
    )
    low, high = np.quantile(means, (0.025, 0.975))
    rarer = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return Effect(value, float(low), float(high), min(1.0, 2 * (rarer + 1) / (resamples + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the given order (Holm 1979): the k-th least times those left."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted
