import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.allocators.rewards import paper_reward, relative_drop

LN = math.log


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_relative_drop():
    before, after = np.array([4.0, 1.0, 2.0, 0.0, math.nan, math.inf]), np.array([1.0, 4.0, 2.0, 0.0, 1.0, 1.0])
    assert relative_drop(before, after).tolist() == [0.75, -0.75, 0.0, 0.0, 0.0, 0.0]


def test_the_papers_reward_of_two_selections_of_unequal_size():
    two, three = np.array([0.0, LN(2)]), np.array([LN(3), 0.0, LN(2)])
    # S = 1 + 2 = 3 and 3 + 1 + 2 = 6: r = (3 - 6) / 6 = -1/2 one way, (6 - 3) / 6 = 1/2 the other.
    assert paper_reward(two, three) == pytest.approx(sigmoid(-0.5)) == pytest.approx(0.3775406688)
    assert paper_reward(three, two) == pytest.approx(sigmoid(0.5)) == pytest.approx(0.6224593312)
    # Of the same selection: 0.5 for no change, more for lower losses.
    assert paper_reward(two, two) == 0.5
    assert paper_reward(np.array([LN(4)]), np.array([0.0])) == pytest.approx(sigmoid(0.75))


def test_the_papers_reward_is_computed_in_float64():
    losses = np.array([100.0], dtype=np.float32)  # exp(100) is beyond float32
    assert paper_reward(losses, np.repeat(losses, 2)) == pytest.approx(sigmoid(-0.5))


def test_the_papers_reward_of_nothing_or_of_the_unknown():
    assert paper_reward(np.array([]), np.array([])) == 0.5
    assert paper_reward(np.array([math.nan]), np.array([1.0])) == 0.5


@given(st.lists(st.floats(0, 20), max_size=6), st.lists(st.floats(0, 20), max_size=6))
def test_the_papers_reward_mirrors(before: list[float], now: list[float]):
    a, b = paper_reward(np.array(before), np.array(now)), paper_reward(np.array(now), np.array(before))
    assert a + b == pytest.approx(1)
    assert sigmoid(-1) <= a <= sigmoid(1)
