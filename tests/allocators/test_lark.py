"""LARK: Brier scores from the likeliest tokens, the gain by hand, and what is chosen."""

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import Row, candidates, choose

from lada.allocators.base import no_look
from lada.allocators.lark import gains
from lada.allocators.looks import LIKELIEST, losses_and_briers
from lada.core.terms import SparseLogProbs, TokenScores

OFFSETS = np.array([[0, 1], [1, 2]], dtype=np.int32)


def text(*tokens: tuple[float, ...]) -> TokenScores:
    """Return a text whose i-th token has the first of these probabilities; the others are of other tokens."""
    ids = np.array([range(len(each)) for each in tokens], dtype=np.int32)
    log_probs = np.log(np.array(tokens, dtype=np.float64)).astype(np.float32)
    return TokenScores(np.zeros(len(tokens), np.int32), OFFSETS[: len(tokens)], SparseLogProbs(ids, log_probs))


def test_the_brier_score_of_a_path_by_hand():
    # p = (0.5, 0.3, 0.2): 0.25 + 0.09 + 0.04 - 2·0.5 + 1 = 0.38. p = (0.1, 0.9): 0.01 + 0.81 - 0.2 + 1 = 1.62.
    losses, briers = losses_and_briers([text((0.5, 0.3, 0.2)), text((0.1, 0.9)), text((0.5, 0.5), (1.0, 1e-30)), None])
    assert losses[:3] == pytest.approx([log(2), log(10), log(2) / 2], rel=1e-6)
    assert briers[:3] == pytest.approx([0.38, 1.62, 0.25], rel=1e-6)
    assert np.isnan(losses[3])
    assert np.isnan(briers[3])


def test_the_gain_by_hand():
    # ΣL = 4, ΣB = 2.2. (1/4)(2·0.6 - 0.55), (1/4)(2·1.0 - 0.55·1), (2/4)(2·0.3 - 0.55).
    losses, briers = np.array([1.0, 1.0, 2.0]), np.array([0.6, 1.0, 0.6])
    assert gains(losses, briers) == pytest.approx([0.1625, 0.3625, 0.025])


@given(st.lists(st.tuples(st.floats(0.01, 9), st.floats(0, 2)), min_size=1, max_size=9))
def test_the_gain_is_the_papers_formula(pairs: list[tuple[float, float]]):
    losses, briers = (np.array(column) for column in zip(*pairs, strict=True))
    rho = briers / losses
    mean = (rho * losses).sum() / losses.sum()
    slow = [loss / losses.sum() * (2 * r - mean) for loss, r in zip(losses, rho, strict=True)]
    assert gains(losses, briers) == pytest.approx(slow, abs=1e-9)


def test_what_cannot_be_traced_is_left_out_and_does_not_touch_the_others():
    losses, briers = np.array([1.0, np.nan, 1.0, 2.0]), np.array([0.6, 0.5, 1.0, 0.6])
    found = gains(losses, briers)
    assert np.isnan(found[1])
    assert found[[0, 2, 3]] == pytest.approx([0.1625, 0.3625, 0.025])


def test_without_any_loss_there_is_nothing_to_learn():
    assert gains(np.zeros(2), np.zeros(2)).tolist() == [0.0, 0.0]
    assert choose("lark", candidates([Row(), Row()])) == []


def test_who_is_torn_learns_faster_than_who_is_sure_of_something_else():
    # Nine paths with L = ln 2 and B = 0.5 and one with L = 30 and B = 2: ΣB / ΣL = 6.5 / 36.24 = 0.179. So of the
    # former 1 - 0.124 is left, of the latter 4 - 5.38: it would slow down the others.
    torn, astonished = text((0.5, 0.5)), text((exp(-30), 1.0))
    table = candidates([Row()] * 10, looks=[torn, astonished, *[torn] * 8])
    assert choose("lark", table) == [(i, "teacher") for i in range(10) if i != 1]
    # With one of each it is 4 - 2.44 against 1 - 0.056.
    pair = candidates([Row()] * 2, looks=[torn, astonished])
    assert choose("lark", pair) == [(1, "teacher"), (0, "teacher")]
    assert choose("lark", pair, budget=1) == [(1, "teacher")]


def test_as_many_tokens_are_looked_at_as_the_authors_have():
    asked = []
    table = replace(candidates([Row()]), look=lambda k: iter(asked.append(k) or [text((0.5, 0.5))]))
    assert choose("lark", table) == [(0, "teacher")]
    assert asked == [LIKELIEST] == [50]


def test_candidates_made_without_a_look_say_so():
    table = replace(candidates([Row()]), look=no_look)
    with pytest.raises(LookupError, match="lack `look`"):
        choose("lark", table)
