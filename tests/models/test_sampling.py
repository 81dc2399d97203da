"""Drawing tokens: by numbers worked out by hand, and by counting."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lada.core.seeds import generator
from lada.models.options import Generation
from lada.models.sampling import Chooser, draw, restrict

THIRD = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()


def kept(scores: torch.Tensor) -> list[list[int]]:
    return [torch.isfinite(row).nonzero()[:, 0].tolist() for row in scores]


@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (None, None, [0, 1, 2, 3]),
        (1, None, [1]),
        (2, None, [1, 3]),
        (9, None, [0, 1, 2, 3]),
        (None, 0.01, [1]),
        (None, 0.39, [1]),
        (None, 0.41, [1, 3]),
        (None, 0.71, [1, 2, 3]),
        (None, 1.0, [0, 1, 2, 3]),
        (2, 0.5, [1]),  # of the two that stay, 0.4 and 0.3, the first has 4/7
        (2, 0.6, [1, 3]),
    ],
)
def test_which_tokens_may_be_drawn(top_k, top_p, expected):
    assert kept(restrict(THIRD, top_k, top_p)) == [expected]


def test_equal_tokens_stay_together_at_the_border_of_top_k():
    assert kept(restrict(torch.tensor([[1.0, 2.0, 1.0, 0.0]]), 2, None)) == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("chance", "token"), [(0.0, 0), (0.09, 0), (0.11, 1), (0.49, 1), (0.51, 2), (0.69, 2), (0.71, 3), (1 - 2**-53, 3)]
)
def test_a_draw_is_where_the_chance_falls(chance, token):
    assert draw(THIRD, torch.tensor([chance], dtype=torch.float64)).tolist() == [token]


@given(
    st.lists(st.one_of(st.floats(-60, 60), st.just(float("-inf"))), min_size=1, max_size=12).filter(
        lambda row: max(row) > float("-inf")
    ),
    st.one_of(st.just(0.0), st.just(1 - 2**-53), st.floats(0, 1, exclude_max=True)),
)
def test_what_is_impossible_is_never_drawn(row, chance):
    (token,) = draw(torch.tensor([row]), torch.tensor([chance], dtype=torch.float64)).tolist()
    assert row[token] > float("-inf")


def test_a_broken_model_gives_a_token_and_no_crash():
    (token,) = draw(torch.full((1, 5), float("nan")), torch.tensor([0.5], dtype=torch.float64)).tolist()
    assert 0 <= token < 5


def test_draws_are_as_frequent_as_they_are_likely():
    chances = torch.from_numpy(generator("draws").random(20_000))
    counts = np.bincount(draw(THIRD.expand(20_000, -1), chances).numpy(), minlength=4) / 20_000
    assert counts == pytest.approx([0.1, 0.4, 0.2, 0.3], abs=0.015)  # four standard errors


def test_a_stream_draws_with_its_own_numbers_whoever_is_beside_it():
    scores = torch.randn((3, 50), generator=torch.Generator().manual_seed(0))
    both = Chooser([(0, 0), (0, 1), (7, 0)], 5, 1.0, Generation(top_k=20))
    alone = Chooser([(7, 0)], 5, 1.0, Generation(top_k=20))
    for step in range(5):
        assert both(scores, [0, 1, 2], step)[2] == both(scores[2:], [2], step)[0] == alone(scores[2:], [0], step)[0]


def test_heat_spreads_and_cold_is_greedy():
    scores = torch.tensor([[0.0, 1.0]]).expand(4_000, -1)
    addresses = [(0, number) for number in range(4_000)]
    for temperature, expected in ((1e-3, 1.0), (1.0, 1 / (1 + np.exp(-1.0))), (4.0, 1 / (1 + np.exp(-0.25)))):
        drawn = Chooser(addresses, 1, temperature, Generation())(scores, range(4_000), 0)
        assert float(drawn.double().mean()) == pytest.approx(expected, abs=0.03)
    assert Chooser(addresses, 1, 0.0, Generation(top_k=1))(scores, range(4_000), 0).sum() == 4_000
