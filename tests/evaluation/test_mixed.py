"""A mean over worlds with a random intercept, against the model written out in full."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from lada.evaluation.comparison import over_units
from lada.evaluation.mixed import mixed_model


def written_out(worlds, between: float, within: float) -> tuple[float, float, float]:
    """Mean, its error, and minus twice the restricted log-likelihood, of whole covariance matrices."""
    of = np.repeat(np.arange(len(worlds)), [len(world) for world in worlds])
    y, one = np.concatenate([np.asarray(world, float) for world in worlds]), np.ones(len(of))
    inverse = np.linalg.inv(within**2 * np.eye(len(of)) + between**2 * (of[:, None] == of[None, :]))
    weight = one @ inverse @ one
    mean = one @ inverse @ y / weight
    _, log_determinant = np.linalg.slogdet(inverse)
    deviance = -log_determinant + np.log(weight) + (y - mean) @ inverse @ (y - mean)
    return float(mean), float(weight**-0.5), float(deviance)


@pytest.mark.parametrize("sizes", [[2, 2, 2, 2], [3, 1, 2, 4, 1], [2, 1]])
@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0])
def test_it_is_the_likeliest_of_all_variances(sizes, spread):
    rng = np.random.default_rng(len(sizes))
    worlds = [list(3 + spread * rng.normal() + rng.normal(size=size)) for size in sizes]
    found = mixed_model(worlds)
    assert found is not None
    mean, error, least = written_out(worlds, found.between, found.within)
    assert found.effect.value == pytest.approx(mean, abs=1e-6)
    for start in ([0.1, 1.0], [2.0, 1.0], [6.0, 0.5]):
        best = minimize(lambda at: written_out(worlds, at[0], abs(at[1]) + 1e-6)[2], start, method="Nelder-Mead")
        assert least <= best.fun + 1e-6
    from scipy.special import stdtrit

    assert found.effect.high is not None
    assert found.effect.high - mean == pytest.approx(stdtrit(len(worlds) - 1, 0.975) * error, rel=1e-5)


def test_four_worlds_of_two_seeds_by_hand():
    found = mixed_model([[1.0, 3.0], [5.0, 7.0], [9.0, 11.0], [2.0, 2.0]])
    assert found is not None
    within = (2 + 2 + 2 + 0) / 4  # squares within worlds, over 4 degrees of freedom
    means = [2.0, 6.0, 10.0, 2.0]
    assert found.effect.value == 5.0
    assert found.within**2 == pytest.approx(within, rel=1e-5)
    assert found.between**2 == pytest.approx(np.var(means, ddof=1) - within / 2, rel=1e-5)
    paired = over_units(means)
    assert (found.effect.low, found.effect.high) == pytest.approx((paired.low, paired.high), rel=1e-5)


VALUES = st.floats(-50, 50).map(lambda value: round(value, 2))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(VALUES, min_size=1, max_size=3), min_size=2, max_size=6))
def test_its_mean_lies_among_the_worlds_and_the_order_changes_nothing(worlds):
    found = mixed_model(worlds)
    if max(map(len, worlds)) == 1:
        assert found is None
        return
    assert found is not None
    means = [np.mean(world) for world in worlds]
    assert min(means) - 1e-6 <= found.effect.value <= max(means) + 1e-6
    again = mixed_model(worlds[::-1])
    assert again is not None
    assert again.effect.value == pytest.approx(found.effect.value, abs=1e-4)


def test_what_the_model_cannot_tell():
    assert mixed_model([[1.0], [2.0], [4.0]]) is None  # world and seed cannot be told apart
    assert mixed_model([[1.0, 2.0]]) is None
    equal = mixed_model([[1.0, 1.0], [3.0, 3.0]])
    assert equal is not None
    assert (equal.within, equal.effect) == (0.0, over_units([1.0, 3.0]))
    with pytest.raises(ValueError, match="finite"):
        mixed_model([[1.0, float("inf")], [2.0, 3.0]])
