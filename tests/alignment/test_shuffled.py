"""Soft targets that change places among positions with the same token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.alignment.shuffled import shuffled
from lada.core.terms import SparseLogProbs


def target(*rows: float) -> SparseLogProbs:
    """Return a target whose row says one token with this log-prob; -inf for none."""
    log_probs = np.array(rows, np.float32)[:, None]
    return SparseLogProbs(np.where(np.isfinite(log_probs), 5, 0).astype(np.int32), log_probs)


def test_rows_change_places_only_with_rows_of_the_same_token():
    targets = [target(-1, -2, -np.inf), target(-3), target(-4, -5)]
    tokens = [np.array(each, np.int32) for each in ([7, 8, 7], [8], [8, 9])]
    seen = set()
    for seed in range(20):
        out = shuffled(targets, tokens, np.random.default_rng(seed))
        assert [len(each.ids) for each in out] == [3, 1, 2]
        flat = np.concatenate([each.log_probs[:, 0] for each in out])
        assert flat[0] == -1  # the only target of token 7; the position without one keeps none
        assert np.isneginf(flat[2])
        assert flat[5] == -5
        assert sorted(flat[[1, 3, 4]]) == [-4, -3, -2]
        assert np.concatenate([each.ids[:, 0] for each in out]).tolist() == [5, 5, 0, 5, 5, 5]
        seen.add(tuple(flat[[1, 3, 4]].tolist()))
    assert len(seen) == 6  # each order comes up


def test_nothing_to_shuffle():
    assert shuffled([], [], np.random.default_rng(0)) == []
    (empty,) = shuffled([target()], [np.zeros(0, np.int32)], np.random.default_rng(0))
    assert empty.ids.shape == (0, 1)


def token_by_token(targets: list[SparseLogProbs], tokens: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Return where each row comes from; one pass over all rows for each token, in ascending order."""
    own = np.concatenate(tokens)
    aimed = np.concatenate([np.isfinite(each.log_probs).any(1) for each in targets])
    source = np.arange(len(own))
    for token in np.unique(own[aimed]):
        places = np.flatnonzero(aimed & (own == token))
        source[places] = rng.permutation(places)
    return source


@pytest.mark.parametrize(
    ("texts", "length", "vocabulary"),
    [(240, 1, 10), (1000, 1, 10), (60, 40, 5000), (3, 5, 1), (7, 0, 5)],
    ids=["digits", "many digits", "a language model", "one token", "empty texts"],
)
def test_the_draws_are_those_of_a_pass_for_each_token(texts: int, length: int, vocabulary: int):
    rng = np.random.default_rng(1)
    tokens = [rng.integers(vocabulary, size=length).astype(np.int32) for _ in range(texts)]
    rows = np.arange(texts * length, dtype=np.float32)
    rows[rng.random(len(rows)) < 0.1] = -np.inf  # a position without a target
    targets = [target(*each) for each in np.split(rows, texts)]
    out = shuffled(targets, tokens, np.random.default_rng(2))
    expected = rows[token_by_token(targets, tokens, np.random.default_rng(2))]
    assert np.concatenate([each.log_probs[:, 0] for each in out]).tolist() == expected.tolist()


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.floats(-5, 0)), max_size=5), max_size=5), st.integers(0, 99))
def test_the_numbers_of_each_token_stay(texts: list[list[tuple[int, float]]], seed: int):
    targets = [target(*(value for _, value in text)) for text in texts]
    tokens = [np.array([token for token, _ in text], np.int32) for text in texts]
    out = shuffled(targets, tokens, np.random.default_rng(seed))

    def by_token(each: list[SparseLogProbs]) -> list[tuple[int, float]]:
        pairs = zip(tokens, each, strict=True)
        return sorted((int(t), float(v)) for own, one in pairs for t, v in zip(own, one.log_probs[:, 0], strict=True))

    assert by_token(out) == by_token(targets)
