"""Every pair loss against numbers worked out by hand, and its gradient against the sign it must have."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lada.objectives.forms import CERTAIN, dpo, log1mexp, odds_ratio, simpo, unlikelihood

log_probs = st.floats(min_value=-1e4, max_value=0.0, width=32)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, requires_grad=True)


def test_dpo_by_hand():
    # alpha 0.5, difference 2 ln 3: -log sigmoid(ln 3) = log(4/3); difference -2 ln 3: log 4; no difference: log 2.
    chosen, rejected = tensor(-1.0, -1.0 - 2 * math.log(3), -1.0), tensor(-1.0 - 2 * math.log(3), -1.0, -1.0)
    assert dpo(chosen, rejected, 0.5).tolist() == pytest.approx([math.log(4 / 3), math.log(4), math.log(2)])


def test_simpo_by_hand():
    # alpha 2, difference 1, margin 2 - ln 3: -log sigmoid(ln 3) = log(4/3); margin 2 leaves nothing: log 2.
    assert simpo(tensor(-1.0), tensor(-2.0), 2.0, 2 - math.log(3)).item() == pytest.approx(math.log(4 / 3))
    assert simpo(tensor(-1.0), tensor(-2.0), 2.0, 2.0).item() == pytest.approx(math.log(2))


def test_odds_ratio_by_hand():
    # p 0.8 against 0.5: odds 4 against 1, ratio 4: -log(4/5). Swapped: ratio 1/4: -log(1/5). Equal: log 2.
    chosen = tensor(math.log(0.8), math.log(0.5), math.log(0.3))
    rejected = tensor(math.log(0.5), math.log(0.8), math.log(0.3))
    assert odds_ratio(chosen, rejected).tolist() == pytest.approx([math.log(5 / 4), math.log(5), math.log(2)])


def test_unlikelihood_by_hand():
    losses = unlikelihood(tensor(math.log(0.75), math.log(0.5), -1e4))
    assert losses.tolist() == pytest.approx([math.log(4), math.log(2), 0.0])


@given(log_probs)
def test_log1mexp_against_the_plain_formula(log_p: float):
    expected = math.log(-math.expm1(min(log_p, -CERTAIN)))
    assert log1mexp(torch.tensor([log_p])).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@given(log_probs, log_probs)
def test_losses_fall_with_the_chosen_and_rise_with_the_rejected(chosen: float, rejected: float):
    for form in (
        lambda c, r: dpo(c, r, 0.1),
        lambda c, r: simpo(c, r, 2.0, 0.5),
        odds_ratio,
        lambda c, r: unlikelihood(r),
    ):
        c, r = tensor(chosen), tensor(rejected)
        loss = form(c, r)
        loss.sum().backward()
        assert math.isfinite(loss.item())
        assert loss.item() >= -1e-6
        if c.grad is not None:
            assert -math.inf < c.grad.item() <= 0
        assert r.grad is not None
        assert 0 <= r.grad.item() < math.inf


def test_gradients_do_not_vanish_where_the_pair_is_undecided():
    for form in (lambda c, r: dpo(c, r, 0.1), lambda c, r: simpo(c, r, 2.0, 0.5), odds_ratio):
        c, r = tensor(-0.7), tensor(-0.7)
        form(c, r).sum().backward()
        assert c.grad is not None
        assert r.grad is not None
        assert c.grad.item() < -0.01
        assert r.grad.item() > 0.01


@pytest.mark.parametrize("chosen", [-1e4, -1.0, -1e-9, 0.0])
@pytest.mark.parametrize("rejected", [-1e4, -1.0, -1e-9, 0.0])
def test_finite_at_extremes(chosen: float, rejected: float):
    for form in (lambda c, r: dpo(c, r, 1.0), lambda c, r: simpo(c, r, 2.0, 0.0), odds_ratio):
        c, r = tensor(chosen), tensor(rejected)
        loss = form(c, r)
        loss.sum().backward()
        assert c.grad is not None
        assert r.grad is not None
        assert all(map(math.isfinite, (loss.item(), c.grad.item(), r.grad.item())))
