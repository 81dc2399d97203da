"""EdgeFD: centres and radius of the private questions, and what lies within them, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import Row, candidates, chosen, make

from lada.allocators.edgefd import EdgeFdOptions, Region, RegionOptions, groups_of
from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.terms import OwnQuestions, Sample

SQUARE = [(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)]
ONE = RegionOptions(centres=1)


def own(vectors, domains=None, answers=None) -> OwnQuestions:
    count = len(vectors)
    samples = tuple(
        Sample(f"p{i}", "?", (answers or [None] * count)[i], domain=(domains or [""] * count)[i]) for i in range(count)
    )
    return OwnQuestions(samples, np.array(vectors, np.float32).reshape(count, 2))


def region(vectors, options=ONE, **more) -> Region:
    return Region.of(own(vectors, **more), options, 0)


def table(vectors, mine: OwnQuestions | None, domains=None):
    rows = [Row(domain=(domains or [""] * len(vectors))[i]) for i in range(len(vectors))]
    return candidates(rows, embeddings=np.array(vectors, np.float32), own=mine)


def test_the_radius_by_hand():
    # The centre is (.5, .5). Four corners lie half a diagonal from it, and its own point at it: the 90 % quantile.
    found = region(SQUARE)
    assert found.centres.tolist() == [[0.5, 0.5]]
    assert found.radius == pytest.approx(0.707107, abs=1e-6)
    distances = found.distances(np.array([(1.2, 0.5), (1.21, 0.5)]), groups_of([Sample("a", "")] * 2, "none"))
    assert distances == pytest.approx([0.7, 0.71])


def test_what_lies_within_is_chosen_nearest_first():
    rule, mine = make("edgefd", centres=1), own(SQUARE)
    state, allocation, told = rule.apply(rule.init(0), table([(1.2, 0.5), (1.21, 0.5), (0.9, 0.9)], mine))
    assert chosen(allocation) == [(2, "teacher"), (0, "teacher")]
    assert [allocation.scores[f"q{i}"] for i in range(3)] == pytest.approx([-0.7, -0.71, -0.565685], abs=1e-6)
    assert told == {
        "inside": 2.0,
        "of_absent_groups": 0.0,
        "centres": 1.0,
        "radius": pytest.approx(0.707107, abs=1e-6),
    }
    # The region stays, whatever the private questions are in a later round.
    kept = bytes_to_arrays(arrays_to_bytes(state))
    again = rule.apply(kept, table([(1.2, 0.5)], own([(9, 9)])))
    assert chosen(again[1]) == [(0, "teacher")]
    assert chosen(make("edgefd", centres=1, budget=1).apply({}, table([(1.2, 0.5), (0.5, 0.5)], mine))[1]) == [
        (1, "teacher")
    ]


@given(st.integers(1, 4), st.integers(0, 3))
def test_nine_in_ten_private_questions_lie_within(centres: int, seed: int):
    vectors = np.random.default_rng(seed).normal(size=(50, 2))
    found = region(vectors, RegionOptions(centres=centres))
    within = found.distances(vectors.astype(np.float32), groups_of([Sample("a", "")] * 50, "none")) <= found.radius
    assert within.sum() == 45  # ranks 1 to 45 of 50: the quantile lies between the 45th and the 46th


def test_distances_are_those_of_a_slow_reference():
    rng = np.random.default_rng(3)
    found = Region(rng.normal(size=(4, 3)), np.array([1, 1, 2, 2]), 1.0)
    vectors = rng.normal(size=(6, 3))
    groups = np.array([1, 2, 1, 2, 3, 1])
    wanted = []
    for vector, group in zip(vectors, groups, strict=True):
        its = [centre for centre, of in zip(found.centres, found.groups, strict=True) if of == group]
        wanted.append(min((float(np.linalg.norm(vector - centre)) for centre in its), default=np.inf))
    assert found.distances(vectors, groups) == pytest.approx(wanted)


def test_a_group_that_the_client_lacks_is_refused_and_counted():
    mine = own([(0, 0), (1, 0), (10, 0), (11, 0)], domains=["a", "a", "b", "b"])
    public = table([(0.5, 0), (10.5, 0), (10.5, 0), (0.5, 0), (0.5, 0)], mine, ["a", "b", "a", "c", ""])
    _, allocation, told = make("edgefd", centres=1, groups="domain").apply({}, public)
    assert sorted(chosen(allocation)) == [(0, "teacher"), (1, "teacher"), (4, "teacher")]
    assert told["of_absent_groups"] == 1.0
    assert told["centres"] == 2.0
    assert np.isfinite(list(allocation.scores.values())).all()


def test_groups_are_domains_or_answers_and_an_unknown_one_belongs_to_none():
    samples = [Sample("a", "", "1", domain="x"), Sample("b", "", "1", domain="y"), Sample("c", "")]
    one, two, none = groups_of(samples, "answer")
    assert one == two != none
    one, two, none = groups_of(samples, "domain")
    assert len({one, two, none}) == 3
    assert len(set(groups_of(samples, "none"))) == 1


def test_equal_questions_have_no_more_centres_than_there_are_different_ones():
    found = region([(1, 1)] * 30 + [(2, 2)], RegionOptions(centres=8))
    assert sorted(found.centres.tolist()) == [[1, 1], [2, 2]]
    assert found.radius == 0.0


def test_few_questions_have_few_centres_so_that_the_radius_means_something():
    rng = np.random.default_rng(0)
    assert [len(region(rng.normal(size=(n, 2)), RegionOptions(centres=3)).centres) for n in (1, 19, 20, 90)] == [
        1,
        1,
        2,
        3,
    ]
    assert region(rng.normal(size=(6, 2)), RegionOptions(centres=8)).radius > 0.1


def test_without_private_questions_a_client_takes_nothing_and_a_server_all():
    public = [(0, 0), (1, 1)]
    state, allocation, told = make("edgefd").apply({}, table(public, own([])))
    assert (chosen(allocation), told["centres"], told["radius"]) == ([], 0.0, -1.0)
    assert chosen(make("edgefd").apply(bytes_to_arrays(arrays_to_bytes(state)), table(public, own([])))[1]) == []
    state, allocation, told = make("edgefd").apply({}, table(public, None))
    assert chosen(allocation) == [(0, "teacher"), (1, "teacher")]
    assert (state, told) == ({}, {})


def test_questions_whose_vectors_are_not_finite_are_left_out():
    _, allocation, told = make("edgefd", centres=1).apply({}, table([(np.nan, 0), (0.5, 0.5)], own(SQUARE)))
    assert chosen(allocation) == [(1, "teacher")]
    assert told["inside"] == 1.0
    assert np.isfinite(list(allocation.scores.values())).all()


@pytest.mark.parametrize("wrong", [{"centres": 0}, {"quantile": 0.0}, {"quantile": 1.1}, {"groups": "class"}])
def test_options_have_bounds(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        EdgeFdOptions(**wrong)
