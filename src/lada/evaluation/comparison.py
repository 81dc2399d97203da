"""Tests whether one method is better than another: over worlds if there are several, else over seeds and questions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lada.evaluation.statistics import mean_interval


@dataclass(frozen=True, slots=True)
class Effect:
    """A mean in percentage points with its 95 % interval and tests.

    All fields except `value` are None if there is only one unit, since one unit shows no variation.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    """The two-sided p-value for a true mean of 0."""
    p_above: float | None = None
    """The p-value for a true mean at or below the given bound: twice the one-sided p-value, so it is below 0.05 exactly
    if the interval lies above this bound."""


def over_units(values: Sequence[float], *, bound: float = 0.0) -> Effect:
    """Return the mean over units, such as worlds, with Student's t interval and tests.

    `values` [n] holds one value per unit; a difference between two methods makes it the paired t-test. Raises
    ValueError if there is no value, or one is not finite.
    """
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"values are {list(values)}; expected at least one, and finite ones")
    if len(values) == 1:
        return Effect(float(values[0]))
    value, low, high = mean_interval(np.asarray(values, np.float64))
    return tested(value, float(np.std(values, ddof=1) / np.sqrt(len(values))), len(values) - 1, bound, low, high)


def tested(value: float, error: float, freedom: int, bound: float, low: float, high: float) -> Effect:
    """Return a mean with its tests, by Student's t with `freedom` degrees of freedom; `error` is its standard error."""
    from scipy.special import stdtr  # here, since its import takes as long as many commands

    def beyond(distance: float) -> float:
        """Return the probability of a t above that of a mean `distance` away."""
        if error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(stdtr(freedom, -distance / error))

    return Effect(value, low, high, min(1.0, 2 * beyond(abs(value))), min(1.0, 2 * beyond(value - bound)))


def resampled_means(seeds: Sequence[Sequence[np.ndarray]], *, seed: int, resamples: int) -> np.ndarray:
    """Return means over seeds and, within a seed, over strata and their questions, float64 [resamples].

    `seeds[s][i]` [n] holds one value per question of seed s in stratum i, such as a scenario; strata have equal weight.
    This is a two-stage bootstrap (Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8).
    Seeds are drawn with replacement. All strata of a seed are drawn together, since they are not independent. Each time
    a seed is drawn, the questions of every stratum are drawn again. As in `bootstrap_interval`, the counts of the
    distinct values are drawn instead of positions.
    """
    generator = np.random.default_rng(seed)
    count = len(seeds)
    drawn = generator.integers(count, size=(resamples, count))
    means = np.empty((resamples, count))
    for place, strata in enumerate(seeds):
        taken = drawn == place
        sums = np.zeros(int(taken.sum()))
        for values in strata:
            distinct, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
            many = generator.multinomial(counts.sum(), counts / counts.sum(), size=len(sums))
            sums += many @ distinct / counts.sum()
        means[taken] = sums / len(strata)
    return means.mean(axis=1)


def over_questions(
    seeds: Sequence[Sequence[np.ndarray]], *, seed: int, bound: float = 0.0, resamples: int = 10_000
) -> Effect:
    """Return the mean over seeds, strata and questions, with the interval of `resampled_means`, which takes the same.

    The interval shows the uncertainty within the one world that all questions come from, not across worlds. A p-value
    is twice the share of resampled means on the other side, counting the observed one. Raises ValueError if there is no
    value, or one is not finite.
    """
    if not seeds or not all(len(strata) and all(len(values) for values in strata) for strata in seeds):
        raise ValueError("nothing to compare; expected at least one seed, stratum and question")
    if not all(np.isfinite(values).all() for strata in seeds for values in strata):
        raise ValueError("differences hold NaN or infinity; expected finite numbers")
    value = float(np.mean([np.mean([np.mean(values) for values in strata]) for strata in seeds]))
    means = resampled_means(seeds, seed=seed, resamples=resamples)
    low, high = np.quantile(means, (0.025, 0.975))

    def p(rarer: int) -> float:
        return min(1.0, 2 * (rarer + 1) / (resamples + 1))

    below, above = int((means <= 0).sum()), int((means >= 0).sum())
    return Effect(value, float(low), float(high), p(min(below, above)), p(int((means <= bound).sum())))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979), in the given order: the k-th smallest times the number
    left."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted
