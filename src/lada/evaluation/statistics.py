"""The uncertainty of a mean: bootstrap intervals over questions, Student-t intervals over seeds."""

import numpy as np

CHUNK = 1 << 20
"""The most counts that are in memory at once."""


def bootstrap_interval(
    values: np.ndarray, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of `values` [n] with its percentile bootstrap interval, as (mean, low, high).

    Efron, "Bootstrap methods: another look at the jackknife" (1979). The counts of the distinct values among n draws
    with replacement are multinomial, so these counts are drawn instead of n positions. The distribution is the same,
    and the cost grows with the number of distinct values (2 for right/wrong). The result depends on `seed`, not on the
    order of the values. Raises ValueError unless `values` is one row of at least one finite number.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values have shape {values.shape}; expected [n] with n of at least 1")
    if not np.isfinite(values).all():
        raise ValueError("values hold NaN or infinity; expected finite numbers")
    distinct, counts = np.unique(values, return_counts=True)
    shares = counts / len(values)
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK // len(distinct))
    means = np.concatenate(
        [
            generator.multinomial(len(values), shares, size=min(rows, resamples - start)) / len(values) @ distinct
            for start in range(0, resamples, rows)
        ]
    )
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return float(shares @ distinct), float(low), float(high)


def paired_difference(
    a: np.ndarray, b: np.ndarray, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of `a - b` [n] with its bootstrap interval, both over the same questions in the same order.

    Each question is drawn together with both of its values, so the difficulty of a question cancels out. Raises
    ValueError as `bootstrap_interval` does, and if the shapes differ.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"a has shape {a.shape} and b {b.shape}; expected the same questions in both")
    return bootstrap_interval(a - b, seed=seed, resamples=resamples, level=level)


def mean_interval(values: np.ndarray, *, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of one value per seed [n] with its Student-t interval, as (mean, low, high).

    Use it for a handful of seeds, where a bootstrap is too narrow. Raises ValueError for fewer than two values.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values have shape {values.shape}; expected [n] with n of at least 2")
    mean = float(values.mean())
    from scipy.special import stdtrit  # here, since its import takes as long as many commands

    half = float(stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half
