"""RSR: ranks and losses from the likeliest tokens, the ratio by hand, and what is chosen."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import Row, candidates, choose, make, scores

from lada.allocators.looks import losses_and_ranks
from lada.allocators.rsr import CLIP
from lada.core.terms import SparseLogProbs, TokenScores


def text(*tokens: tuple[float, ...]) -> TokenScores:
    """Return a text whose i-th token has the first of these probabilities; the others are of other tokens."""
    ids = np.array([range(len(each)) for each in tokens], dtype=np.int32)
    spans = np.stack([np.arange(len(tokens)), np.arange(1, len(tokens) + 1)], 1).astype(np.int32)
    log_probs = np.log(np.array(tokens, dtype=np.float64)).astype(np.float32)
    return TokenScores(np.zeros(len(tokens), np.int32), spans, SparseLogProbs(ids, log_probs))


def test_ranks_by_hand():
    # Two tokens are likelier than 0.2 and none than 0.5: ranks 3 and 1. Ties are no likelier.
    losses, ranks = losses_and_ranks([text((0.2, 0.3, 0.5), (0.5, 0.3, 0.2)), text((0.4, 0.4, 0.2)), None])
    assert ranks[:2].tolist() == [2.0, 1.0]
    assert losses[:2] == pytest.approx([(log(5) + log(2)) / 2, log(2.5)], rel=1e-6)
    assert np.isnan([losses[2], ranks[2]]).all()


def test_a_token_that_was_not_among_the_likeliest_has_the_last_rank():
    # Of k = 4 tokens that are looked at the own one is the fourth, be it the fifth or the five-thousandth of all.
    assert losses_and_ranks([text((1e-6, 0.5, 0.2, 0.1))])[1].tolist() == [4.0]


@given(st.lists(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_ratio_is_that_of_a_slow_reference(tokens: list[list[float]]):
    rows = [tuple(each) for each in tokens]
    rank = sum(1 + sum(np.float32(np.log(other)) > np.float32(np.log(row[0])) for other in row[1:]) for row in rows)
    nll = sum(-log(row[0]) for row in rows)
    rule = make("rsr")
    found = rule.apply({}, candidates([Row()], looks=[text(*rows)]))[1].scores["q0"]
    assert found == pytest.approx(-rank / max(nll, 1e-12 * len(rows)), rel=1e-3, abs=1e-3)


def test_the_least_ratio_first():
    looks = [
        scores(0.9, 0.9),  # 1 / 0.105 = 9.5: known by heart
        scores(0.51, 0.51),  # 1 / 0.673 = 1.5: the likeliest, and a surprise
        scores(0.4, 0.4),  # 2 / 0.916 = 2.2: a surprise beside a likelier one
        None,
        scores(1.0, 1.0),  # no surprise at all
    ]
    table = candidates([Row(teacher_right=right) for right in (True, False, None, True, True)], looks=looks)
    assert choose("rsr", table) == [(1, "teacher"), (2, "teacher"), (0, "teacher"), (4, "teacher")]
    assert choose("rsr", table, budget=1) == [(1, "teacher")]
    assert choose("rsr", table, budget=2, gold=True) == [(2, "teacher"), (0, "teacher")]
    found = make("rsr").apply({}, table)[1].scores
    assert [found[f"q{i}"] for i in range(3)] == pytest.approx([-1 / 0.1053605, -1 / 0.6733446, -2 / 0.9162907])
    assert np.isnan(found["q3"])


def test_it_looks_at_as_many_tokens_as_ranks_count():
    asked = []
    table = replace(candidates([Row()]), look=lambda k: asked.append(k) or iter([scores(0.5)]))
    make("rsr").apply({}, table)
    assert asked == [CLIP] == [100]
