"""PCoreSet: predictions at the answer's token, and farthest-first search by hand and against a slow reference."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.sparse import csr_array
from tables import Row, candidates, choose, chosen, make

from lada.allocators.pcoreset import PCoreSetOptions, answer_token, farthest_first, predictions
from lada.core.terms import Likelihood, Path, SparseLogProbs, TokenScores


def label(*probabilities: float) -> TokenScores:
    """Return what a classifier makes of a label: one token, with these probabilities of all labels."""
    ids = np.arange(len(probabilities), dtype=np.int32)[None]
    log_probs = np.log(np.array([probabilities])).astype(np.float32)
    return TokenScores(np.zeros(1, np.int32), np.array([[0, 1]], np.int32), SparseLogProbs(ids, log_probs))


def labels(*predicted: tuple[float, ...] | None, **more):
    looks = [None if each is None else label(*each) for each in predicted]
    return candidates([Row(path="1", teacher="1")] * len(predicted), looks=looks, **more)


def rows(*values: tuple[float, ...]):
    return csr_array(np.array(values))


def test_the_example_of_the_paper_by_hand():
    # One labelled sample at (.8, .2): (.1, .9) lies .99 away, then (.5, .5) .42 from the nearer one.
    space = rows((0.8, 0.2), (0.9, 0.1), (0.5, 0.5), (0.1, 0.9), (0.85, 0.15))
    began = np.array([True, False, False, False, False])
    picks, distances = farthest_first(space, [1, 2, 3, 4], began, 2)
    assert [pick - 1 for pick in picks] == [2, 1]
    assert distances[[3, 2]] == pytest.approx([0.7 * 2**0.5, 0.3 * 2**0.5])
    assert distances[[1, 4]] == pytest.approx([0.1 * 2**0.5, 0.05 * 2**0.5])  # of those that are left


def test_two_rounds_of_a_classifier_by_hand():
    # The mean is (.5625, .4375). (.1, .9) is furthest from it, then (.9, .1). Then only (.5, .5) and (.75, .25) are
    # left; (.5, .5) is .4 * sqrt 2 from (.1, .9), and (.75, .25) is .15 * sqrt 2 from (.9, .1).
    table = labels((0.9, 0.1), (0.5, 0.5), (0.1, 0.9), (0.75, 0.25))
    rule = make("pcoreset", budget=2)
    state, allocation, told = rule.apply(rule.init(0), table)
    assert chosen(allocation) == [(2, "teacher"), (0, "teacher")]
    assert [choice.score for choice in allocation.choices] == pytest.approx([0.4625 * 2**0.5, 0.8 * 2**0.5], abs=1e-6)
    assert told == {
        "radius": pytest.approx(0.4 * 2**0.5, abs=1e-6),
        "earlier": 0.0,
        "restarted": 0.0,
        "without_prediction": 0.0,
    }
    state, allocation, told = rule.apply(state, table)
    assert chosen(allocation) == [(1, "teacher"), (3, "teacher")]
    assert (told["earlier"], told["radius"]) == (2.0, 0.0)
    _, allocation, told = rule.apply(state, table)  # nothing new is left
    assert chosen(allocation) == [(2, "teacher"), (0, "teacher")]
    assert told["restarted"] == 1.0


def test_tokens_that_are_not_named_are_one_more_category():
    scores = label(0.6, 0.3)
    found, known = predictions(labels((0.6, 0.3)).teacher_paths, [scores])
    assert found.toarray()[0] == pytest.approx([0.6, 0.3, 0.1], abs=1e-6)
    assert known.tolist() == [True]


def test_the_prediction_is_that_at_the_first_token_of_the_answer():
    def told(text: str, answer: str | None, *spans: tuple[int, int]) -> int | None:
        scores = TokenScores(
            np.zeros(len(spans), np.int32),
            np.array(spans, np.int32).reshape(-1, 2),
            SparseLogProbs(np.zeros((len(spans), 1), np.int32), np.zeros((len(spans), 1), np.float32)),
        )
        return answer_token(Path("q", "llm", text, answer, None, Likelihood(-1.0, -1.0, 1, len(text))), scores)

    assert told("é so 12", "12", (0, 2), (2, 5), (5, 8), (8, 9)) == 2  # bytes; the token holds the blank, too
    assert told("12 so 12", "12", (0, 2), (2, 5), (5, 8)) == 2  # the last of two
    assert told("so 1,000 ", "1000", (0, 2), (2, 4), (4, 8)) == 1  # written otherwise: the last word
    assert told("7", "7", (0, 1), (1, 2)) == 0
    assert told("so 12", "12", (0, 2)) is None  # cut before it
    assert told("", None, (0, 1)) is None


def test_what_has_no_prediction_is_counted_and_left_out():
    rule = make("pcoreset", budget=3)
    _, allocation, told = rule.apply({}, labels((0.9, 0.1), None, (0.1, 0.9)))
    assert sorted(chosen(allocation)) == [(0, "teacher"), (2, "teacher")]
    assert told["without_prediction"] == 1.0
    _, allocation, told = rule.apply({}, labels(None, None))
    assert (chosen(allocation), told["without_prediction"], told["radius"]) == ([], 2.0, 0.0)
    assert chosen(rule.apply({}, labels())[1]) == []


def test_of_one_class_alone_any_sample_covers_all():
    _, allocation, told = make("pcoreset", budget=2).apply({}, labels(*[(1.0 - 1e-9, 1e-9)] * 4))
    assert len(allocation.choices) == 2
    assert told["radius"] == pytest.approx(0.0, abs=1e-6)


def test_a_path_known_to_be_wrong_is_not_taken_with_gold():
    looks = [label(0.9, 0.1), label(0.1, 0.9)]
    table = candidates([Row(path="1", teacher_right=right) for right in (False, True)], looks=looks)
    assert choose("pcoreset", table, budget=2, gold=True) == [(1, "teacher")]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9), st.integers(1, 9))
def test_the_search_is_that_of_a_slow_reference_and_its_radius_never_grows(values: list[int], budget: int):
    points = np.array([(value / 20, 1 - value / 20) for value in values])
    picks, distances = farthest_first(csr_array(points), range(len(points)), np.zeros(len(points), bool), budget)
    assert len(set(picks)) == len(picks) == min(budget, len(points))
    centres = [points.mean(0)]
    for number, pick in enumerate(picks):
        least = {
            i: min(float(np.linalg.norm(point - centre)) for centre in centres)
            for i, point in enumerate(points)
            if i not in picks[:number]
        }
        assert least[pick] == pytest.approx(max(least.values()), abs=1e-7)
        assert distances[pick] == pytest.approx(least[pick], abs=1e-7)
        centres = [*centres[number == 0 :], points[pick]]  # the mean stands only for the first
    reached = [distances[pick] for pick in picks[1:]]
    assert all(a >= b - 1e-7 for a, b in pairwise(reached))


@pytest.mark.parametrize("tokens", [0, 5000])
def test_the_number_of_tokens_has_bounds(tokens: int):
    with pytest.raises(ValidationError, match="tokens"):
        PCoreSetOptions(tokens=tokens)
