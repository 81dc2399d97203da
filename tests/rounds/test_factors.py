"""Three ways to make one adapter of several, by hand, against dense matrices, and where they differ."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.rounds.aggregating import aggregate
from lada.rounds.factors import average_padded, average_products, common_start, fit, norm, outline, scaled

A, B = "m.q_proj.lora_A.default.weight", "m.q_proj.lora_B.default.weight"
Factors = dict[str, np.ndarray]


def adapter(a: Any, b: Any) -> Factors:
    return {A: np.array(a, np.float32), B: np.array(b, np.float32)}


def product(weights: Any) -> np.ndarray:
    return weights[B].astype(np.float64) @ weights[A].astype(np.float64)


ONE = adapter([[1, 0]], [[4], [0]])  # B·A is 4 at the top left
TWO = adapter([[0, 1]], [[0], [2]])  # B·A is 2 at the bottom right
SAMPLES = {"a": 100, "b": 300}


def test_the_average_of_factors_by_hand():
    merged = aggregate({"a": ONE, "b": TWO}, SAMPLES, "mean", 0)
    assert merged[A].tolist() == [[0.25, 0.75]]
    assert merged[B].tolist() == [[1.0], [1.5]]
    assert product(merged).tolist() == [[0.25, 0.75], [0.375, 1.125]]  # and not [[1, 0], [0, 1.5]]


def test_the_average_of_products_by_hand():
    # The average is diag(1, 1.5); the nearest of rank 1 keeps the larger singular value alone.
    merged = average_products({"a": ONE, "b": TWO}, SAMPLES).weights
    assert (merged[A].shape, merged[B].shape) == ((1, 2), (2, 1))
    assert product(merged) == pytest.approx(np.diag([0.0, 1.5]))
    assert np.abs(merged[A]) == pytest.approx(np.array([[0.0, 1.5**0.5]]))
    # With a place for both it is the average itself, the larger first.
    wide = adapter([[0, 1], [0, 0]], [[0, 0], [2, 0]])
    merged = average_products({"a": ONE, "b": wide}, SAMPLES).weights
    assert product(merged) == pytest.approx(np.diag([1.0, 1.5]))
    assert np.linalg.norm(merged[A], axis=1) == pytest.approx([1.5**0.5, 1.0])
    assert product(fit(merged, ONE)) == pytest.approx(np.diag([0.0, 1.5]))


def test_the_average_of_padded_factors_by_hand():
    # Norms are 4 and 2, so shares are 2/3 and 1/3; one's second row and column are zeros.
    wide = adapter([[0, 1], [3, 3]], [[0, 0], [2, 0]])
    merged = average_padded({"a": ONE, "b": wide})
    assert merged[A] == pytest.approx(np.array([[2 / 3, 1 / 3], [1, 1]]))
    assert merged[B] == pytest.approx(np.array([[8 / 3, 0], [2 / 3, 0]]))
    cut = fit(merged, ONE)
    assert cut[A] == pytest.approx(np.array([[2 / 3, 1 / 3]]))
    assert cut[B] == pytest.approx(np.array([[8 / 3], [2 / 3]]))


def test_adapters_that_change_nothing_count_alike():
    zero = [adapter([[a, 0]], [[0], [0]]) for a in (1, 3)]
    assert average_padded(dict(zip("ab", zero, strict=True)))[A].tolist() == [[2, 0]]
    assert np.array_equal(
        product(average_products(dict(zip("ab", zero, strict=True)), {"a": 0, "b": 0}).weights), np.zeros((2, 2))
    )


def draw(rng: np.random.Generator, rank: int, width: int, height: int) -> Factors:
    return adapter(rng.normal(size=(rank, width)), rng.normal(size=(height, rank)))


sizes = {"seed": st.integers(0, 99), "width": st.integers(1, 6), "height": st.integers(1, 6)}


@settings(deadline=None)
@given(ranks=st.lists(st.integers(1, 7), min_size=1, max_size=4), **sizes)
def test_no_other_adapter_of_its_rank_is_nearer_to_the_average_of_products(
    ranks: list[int], seed: int, width: int, height: int
):
    rng = np.random.default_rng(seed)
    told = {f"c{i}": draw(rng, rank, width, height) for i, rank in enumerate(ranks)}
    samples = {client: int(rng.integers(1, 9)) for client in told}
    dense = sum(samples[c] * product(told[c]) for c in told) / sum(samples.values())
    merged = average_products(told, samples).weights
    assert merged[A].shape == (max(ranks), width)
    singular = np.linalg.svd(dense, compute_uv=False)
    for own in told.values():
        rank = len(own[A])
        error = np.linalg.norm(dense - product(fit(merged, own)))
        assert error == pytest.approx(np.linalg.norm(singular[rank:]), abs=1e-9 + 1e-6 * singular[0])
    full = fit(merged, draw(rng, max(ranks), width, height))
    if max(ranks) >= min(width, height):
        assert product(full) == pytest.approx(dense, abs=1e-6 * max(1, singular[0]))


@settings(deadline=None)
@given(rank=st.integers(1, 4), **sizes)
def test_all_agree_where_all_clients_send_the_same(rank: int, seed: int, width: int, height: int):
    mine = draw(np.random.default_rng(seed), rank, width, height)
    told, samples = dict.fromkeys("abc", mine), {"a": 1, "b": 2, "c": 5}
    for merged in (aggregate(told, samples, "mean", 0), average_products(told, samples).weights, average_padded(told)):
        assert product(merged) == pytest.approx(product(mine), abs=1e-5)


@settings(deadline=None)
@given(ranks=st.lists(st.integers(1, 4), min_size=1, max_size=4), **sizes)
def test_padding_and_norms_as_with_dense_matrices(ranks: list[int], seed: int, width: int, height: int):
    rng = np.random.default_rng(seed)
    told = [draw(rng, rank, width, height) for rank in ranks]
    norms = np.array([np.linalg.norm(product(each)) for each in told])
    assert [norm(each) for each in told] == pytest.approx(norms, rel=1e-6)
    merged = average_padded({f"c{i}": each for i, each in enumerate(told)})
    for row in range(max(ranks)):
        having = [(n, each[A][row]) for n, each in zip(norms, told, strict=True) if row < len(each[A])]
        assert merged[A][row] == pytest.approx(sum(n * values for n, values in having) / norms.sum(), abs=1e-5)


def test_a_larger_rank_than_all_others_keeps_rows_to_learn_with():
    own = adapter([[1, 2], [3, 4]], [[5, 6], [7, 8]])
    fitted = fit(ONE, own)
    assert fitted[A].tolist() == [[1, 0], [3, 4]]
    assert fitted[B].tolist() == [[4, 0], [0, 0]]
    assert np.array_equal(product(fitted), product(ONE))


def test_scaling_is_of_b_alone():
    assert product(scaled(ONE, 2.0))[0, 0] == 8
    assert scaled(ONE, 2.0)[A] is ONE[A]
    assert scaled(ONE, 2.0)[B].dtype == np.float32


def test_an_outline_knows_no_rank():
    wide = adapter([[0, 1], [3, 3]], [[0, 0], [2, 0]])
    assert outline(ONE) == outline(wide) == ((A, 2, 2),)
    embedding = {"m.lora_embedding_A.default": ONE[A], "m.lora_embedding_B.default": ONE[B]}
    assert outline(embedding) == (("m.lora_embedding_A.default", 2, 2),)
    for unsound in (
        {},
        {"w": ONE[A]},
        {A: ONE[A]},
        {**ONE, "w": ONE[A]},
        {A: ONE[A], B: wide[B]},
        {A: ONE[A][0], B: ONE[B]},
    ):
        assert outline(unsound) is None


def test_all_start_alike_whatever_their_rank():
    small, large = (common_start(draw(np.random.default_rng(9), rank, 400, 3), seed=7) for rank in (2, 5))
    assert np.array_equal(small[A], large[A][:2])
    assert not large[B].any()
    assert 0.045 < np.abs(large[A]).max() <= 0.05  # 1/√400
    assert abs(large[A].mean()) < 0.005
    assert not np.array_equal(common_start(draw(np.random.default_rng(9), 2, 400, 3), seed=8)[A], small[A])
