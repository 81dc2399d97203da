import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.allocators.clusters import cluster, spread


def test_points_that_are_apart_are_told_apart():
    rng = np.random.default_rng(0)
    centres = np.array([[10, 0, 0], [0, 10, 0], [0, 0, 10]])
    truth = rng.integers(0, 3, 30)
    labels = cluster(centres[truth] + rng.normal(0, 0.1, (30, 3)), 3, seed=5)
    assert labels.dtype == np.int64
    assert sorted(set(labels)) == [0, 1, 2]
    assert len(set(zip(truth.tolist(), labels.tolist(), strict=True))) == 3


def test_only_the_direction_of_a_vector_counts():
    points = np.array([[1.0, 0.0], [90.0, 0.1], [0.0, 2.0], [0.0, 50.0]])
    a, b, c, d = cluster(points, 2, seed=0)
    assert a == b != c == d


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (np.repeat([[1.0, 0.0], [0.0, 1.0]], 3, axis=0), 2),
        (np.ones((5, 4)), 1),
        (np.zeros((5, 4)), 1),
        (np.array([[3.0, 4.0]]), 1),
        (np.zeros((0, 4)), 0),
        (np.zeros((0, 0)), 0),
    ],
)
def test_there_are_no_more_clusters_than_distinct_points(points: np.ndarray, expected: int):
    labels = cluster(points, 5, seed=1)
    assert labels.shape == (len(points),)
    assert len(set(labels.tolist())) == expected


def test_equal_seeds_give_equal_clusters():
    points = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    assert (cluster(points, 4, 2**62 + 3) == cluster(points, 4, 2**62 + 3)).all()
    assert (points == np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)).all()


def test_positions_are_dealt_cluster_by_cluster():
    clusters = np.array([0, 0, 0, 1, 1, 2])
    # Best first: 4 (cluster 1), 0 (0), 5 (2); then the second of each cluster that has one: 3 (1), 2 (0); then 1 (0).
    assert spread([4, 0, 2, 1, 5, 3], clusters, None) == [4, 0, 5, 3, 2, 1]
    assert spread([4, 0, 2, 1, 5, 3], clusters, 4) == [4, 0, 5, 3]
    assert spread([2, 1], clusters, 4) == [2, 1]
    assert spread([], clusters, 4) == []


@given(st.permutations(range(12)), st.lists(st.integers(0, 4), min_size=12, max_size=12), st.integers(1, 12))
def test_a_spread_is_even_and_takes_the_best_of_each_cluster(ranked: list[int], clusters: list[int], budget: int):
    dealt = spread(ranked, np.array(clusters), budget)
    assert len(dealt) == budget
    for number in set(clusters):
        members = [position for position in ranked if clusters[position] == number]
        taken = [position for position in dealt if clusters[position] == number]
        assert taken == members[: len(taken)]
        if len(taken) < len(members):  # none of the others has been dealt two more
            counts = [sum(clusters[p] == other for p in dealt) for other in set(clusters)]
            assert max(counts) <= len(taken) + 1
