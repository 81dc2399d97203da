"""Peer review: posteriors by hand and by a slow reference, LaDa's rule on them, and parties that lie."""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import Row, candidates, choose, chosen, make

from lada.allocators.annotators import FAR, SUREST, Estimate, Prior, estimate, ratios, standardised
from lada.allocators.base import ALLOCATORS
from lada.allocators.pairs import of_pair
from lada.allocators.reviews import Reviews, numbered
from lada.core.errors import InputError
from lada.core.needs import needs
from lada.core.terms import Likelihood, Verb

LogProbs = dict[tuple[int, int], np.ndarray]
ONE = Prior(answers=4, reliability=0.6, strength=10.0)


def reviews(*answers: Sequence[int], log_probs: Any = None) -> Reviews:
    table = np.array(answers, np.int64)
    return Reviews(tuple("tsabcdefgh"[: table.shape[1]]), table, log_probs or {})


def estimated(told: Reviews, prior: Prior = ONE, clusters: Any = None, **off: bool) -> Estimate:
    at = np.zeros(len(told.answers), np.int64) if clusters is None else np.array(clusters)
    return estimate(told, at, prior, **{"learn": True, "likelihood": True, "votes": True, **off})


def test_posteriors_by_hand():
    # Each party is right in 3 of 5 cases, and each of the 3 wrong answers comes in 2 of 15.
    right, wrong = Fraction(3, 5), Fraction(2, 15)
    a, b, nobody = right**2 * wrong, right * wrong**2, 2 * wrong**3
    both, alone = right**2, 3 * wrong**2
    found = estimated(reviews((0, 0, 1), (0, 0, -1), (0, -1, -1), (-1, -1, -1)), learn=False).posterior
    total = a + b + nobody
    assert found[0] == pytest.approx([float(a / total), float(a / total), float(b / total)], rel=1e-12)
    assert found[0] == pytest.approx([0.757009, 0.757009, 0.168224], abs=1e-6)
    assert found[1] == pytest.approx([float(both / (both + alone))] * 2 + [0.0], rel=1e-12)
    assert found[2] == pytest.approx([0.6, 0, 0], rel=1e-12)
    assert found[3].tolist() == [0, 0, 0]


def test_a_step_of_learning_by_hand():
    with patch("lada.allocators.annotators.STEPS", 1):
        found = estimated(reviews((0, 0, 1), (0, -1, -1)), likelihood=False)
    # The first is right in .757009 + .6 of 2 answers, and 10 more of which 6 count: 7.357009 / 12. Its one cluster is
    # drawn to that: (10 · .613084 + 1.357009) / 12. The two others answered one question.
    assert found.reliability[0] == pytest.approx([0.623988, 0.627250, 0.525064], abs=1e-6)
    assert found.posterior[1, 0] == pytest.approx(0.623988, abs=1e-6)
    one, two, three = found.reliability[0]
    a, b = one * two * (1 - three) / 3, (1 - one) * (1 - two) * three / 9
    nobody = 2 * (1 - one) * (1 - two) * (1 - three) / 27
    assert found.posterior[0, 2] == pytest.approx(b / (a + b + nobody), rel=1e-12)


def slow(told: Reviews, clusters: list[int], prior: Prior, steps: int) -> tuple[list[list[float]], dict[Any, float]]:
    """Return posteriors and reliabilities by party and cluster, answer by answer of all K, without evidence."""
    n, p, k = len(told.answers), len(told.parties), prior.answers
    reliable = {(j, c): prior.reliability for j in range(p) for c in set(clusters)}
    posterior: list[list[float]] = []
    last = reliable
    for _ in range(steps + 1):
        posterior = []
        for row, c in zip(told.answers.tolist(), clusters, strict=True):
            likely = []
            for truth in range(max(k, len({each for each in row if each >= 0}))):
                product = 1.0
                for j, vote in enumerate(row):
                    if vote >= 0:
                        product *= reliable[j, c] if vote == truth else (1 - reliable[j, c]) / (k - 1)
                likely.append(product)
            posterior.append([likely[vote] / sum(likely) if vote >= 0 else 0.0 for vote in row])
        last, reliable = reliable, {}
        for j in range(p):
            rows = [i for i in range(n) if told.answers[i, j] >= 0]
            mean = (prior.strength * prior.reliability + sum(posterior[i][j] for i in rows)) / (
                prior.strength + len(rows)
            )
            for c in set(clusters):
                inside = [posterior[i][j] for i in rows if clusters[i] == c]
                share = (prior.strength * mean + sum(inside)) / (prior.strength + len(inside))
                reliable[j, c] = min(max(share, 1 / k), SUREST)
    return posterior, last


@given(
    st.lists(st.tuples(*[st.integers(-1, 3)] * 4), min_size=1, max_size=12),
    st.integers(3, 12),
    st.floats(0.4, 0.9),
    st.floats(0.5, 20),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_it_is_expectation_maximisation_over_all_answers(
    rows: list[tuple[int, ...]], k: int, reliability: float, strength: float, data: st.DataObject
):
    clusters = data.draw(st.lists(st.integers(0, 1), min_size=len(rows), max_size=len(rows)))
    clusters[0] = 0
    clusters[-1] = min(1, len(rows) - 1)
    told = reviews(*([numbered([str(a) if a >= 0 else None for a in row], lambda x, y: x == y) for row in rows]))
    prior = Prior(k, reliability, strength)
    with patch("lada.allocators.annotators.STEPS", 4):
        found = estimated(told, prior, clusters, likelihood=False)
    expected, reliable = slow(told, clusters, prior, 4)
    assert found.posterior == pytest.approx(np.array(expected), abs=1e-7)
    for (j, c), each in reliable.items():
        assert found.reliability[c, j] == pytest.approx(each, abs=1e-7)


def test_a_party_that_is_often_outvoted_counts_less():
    # The third party contradicts two that agree, on 30 questions; on 10 others it contradicts the first alone.
    told = reviews(*[(0, 0, 1)] * 30, *[(0, -1, 1)] * 10)
    found = estimated(told, Prior())
    assert found.reliability[0, 0] > 0.9 > 0.3 > found.reliability[0, 2]
    assert found.posterior[-1, 0] > 0.9
    alike = estimated(told, Prior(), learn=False)
    assert alike.posterior[-1, 0] == pytest.approx(alike.posterior[-1, 2])


def test_two_parties_are_equally_reliable():
    # The second leaves some questions open. That must not make the first the better one.
    told = reviews(*[(0, 1)] * 60, *[(0, 0)] * 30, *[(0, -1)] * 10)
    found = estimated(told, Prior())
    assert found.reliability[0, 0] == found.reliability[0, 1]
    assert found.posterior[0, 0] == found.posterior[0, 1] < 0.5


def test_reliability_is_by_cluster():
    # The first is right of the three in one cluster, and the second in the other.
    told = reviews(*[(0, 1, 0)] * 40, *[(0, 1, 1)] * 40)
    found = estimated(told, Prior(), [0] * 40 + [1] * 40)
    assert found.reliability[0, 0] > 0.8 > 0.4 > found.reliability[0, 1]
    assert found.reliability[1, 1] > 0.8 > 0.4 > found.reliability[1, 0]


def test_log_probs_are_standardised_by_judge_writer_and_cluster():
    table = np.array([(0, 0)] * 20 + [(0, -1)] * 2, np.int64)
    log_probs = np.array([-1.0, -3.0] * 5 + [-10.0, -30.0] * 5 + [-1.0, -3.0])
    told = Reviews(("t", "s"), table, {(1, 0): log_probs, (1, 1): log_probs})
    z = standardised(told, np.array([0] * 10 + [1] * 10 + [2] * 2))
    assert z[1, 0][:20].tolist() == pytest.approx([1, -1] * 10)
    every = log_probs  # a cluster of two is standardised with all
    assert z[1, 0][20:].tolist() == pytest.approx(((every[20:] - every.mean()) / every.std()).tolist())
    assert np.isnan(z[1, 1][20:]).all()  # paths without an answer


def test_ratios_by_hand():
    z = {(0, 1): np.array([1.0, 3.0] * 10 + [-1.0, -3.0] * 10 + [np.nan])}
    right = np.stack([np.ones(41), np.array([1.0] * 20 + [0.0] * 20 + [0.5])], 1)
    # Means 2 and -2, variance 1: β = 4, but at most 3; the middle is 0.
    assert ratios(z, right)[0, 1][:4] == pytest.approx([3.0, 3.0, 3.0, 3.0])
    half = np.stack([np.ones(41), np.array([0.75] * 20 + [0.25] * 20 + [0.5])], 1)
    # Means 1 and -1, variance 4: β = 1/2.
    found = ratios(z, half)[0, 1]
    assert found[[0, 1, 20, 21]] == pytest.approx([0.5, 1.5, -0.5, -1.5])
    assert np.isnan(found[40])
    assert ratios(z, None)[0, 1][[0, 1, 21]] == pytest.approx([1.0, 3.0, -3.0])
    assert not np.nan_to_num(ratios(z, 1 - half)[0, 1]).any()  # a judge that finds wrong paths likelier is ignored
    assert not ratios({(0, 0): np.arange(9.0)}, np.full((9, 1), 0.5))[0, 0].any()  # nine tell nothing


def test_evidence_is_a_factor_of_the_odds():
    log_probs = {(0, 0): np.array([-1.0, -3.0] * 10), (1, 0): np.array([-1.0, -1.0, -3.0, -3.0] * 5)}
    told = Reviews(("t", "s"), np.array([(0, 1)] * 20, np.int64), log_probs)
    found = estimated(told, ONE, learn=False).posterior
    # Mean ratios of the first answer: 1, 0, 0, -1. Each answer has .6 · .4 / 3, and the two others .4² / 9.
    one, others = 0.08, 2 * 0.16 / 9
    for row, ratio in enumerate((1, 0, 0, -1)):
        assert found[row, 0] == pytest.approx(one * math.exp(ratio) / (one * math.exp(ratio) + one + others))
    alone = estimated(told, ONE, learn=False, votes=False).posterior
    assert alone[0] == pytest.approx([1 / (1 + math.exp(-math.log(1.5) - 1)), 0.6])
    assert estimated(told, ONE, learn=False, likelihood=False).posterior[0, 0] == pytest.approx(
        one / (2 * one + others)
    )


SAME, OTHER, TEACHER_ONLY, SILENT = Row("1", "1"), Row("1", "2"), Row("1", None), Row(None, None)


def test_two_parties_believe_what_they_agree_on():
    table = [SAME, OTHER, TEACHER_ONLY, SILENT, Row(None, "2")]
    assert dict(choose("peer_review", candidates(table), reliability=False, threshold=0.61)) == {0: "student"}
    # An answer that nobody contradicts is as sure as its writer.
    assert dict(choose("peer_review", candidates(table), reliability=False)) == {
        0: "student",
        2: "teacher",
        4: "student",
    }


def test_of_two_parties_the_one_whose_paths_look_like_shared_ones_is_believed():
    same = [Row("1", "1", student_mean=-0.5 + 0.02 * (i % 5), teacher_mean=-0.5 + 0.02 * (i % 5)) for i in range(40)]
    # Where they differ, the student is as unsure as never, and the teacher as sure as always.
    differ = [Row("1", "2", student_mean=-2.0 + 0.02 * (i % 5), teacher_mean=-0.5 + 0.02 * (i % 5)) for i in range(20)]
    found = dict(choose("peer_review", candidates(same + differ)))
    assert found == {**dict.fromkeys(range(40), "student"), **dict.fromkeys(range(40, 60), "teacher")}
    assert dict(choose("peer_review", candidates(same + differ), likelihood=False)) == dict.fromkeys(
        range(40), "student"
    )


def with_others(table: list[Row], *others: tuple[int, ...]) -> Any:
    """Return candidates with the answers of more parties: 0 is the teacher's, 1 another one of the student."""
    pair = candidates(table)
    told = of_pair(pair)
    more = np.array(others, np.int64).T
    names = (*told.parties, *(f"c{i}" for i in range(more.shape[1])))
    return replace(pair, reviews=Reviews(names, np.hstack([told.answers, more]), told.log_probs))


def test_other_parties_decide_between_the_two():
    table = [OTHER, OTHER, SAME, OTHER]
    found = with_others(table, (0, 1, 1, 2), (0, 1, 1, 2))
    # Two more parties agree with the teacher, with the student, on another answer than theirs, and on a third one.
    assert dict(choose("peer_review", found, reliability=False)) == {0: "teacher", 1: "student"}
    assert dict(choose("peer_review", replace(found, reviews=None), reliability=False)) == {2: "student"}


def test_scores_reasons_and_figures():
    rule = make("peer_review", reliability=False, likelihood=False, answers=4)
    state, allocation, figures = rule.apply({}, candidates([SAME, OTHER]))
    assert chosen(allocation) == [(0, "student")]
    assert allocation.scores == pytest.approx({"q0": 0.36 / (0.36 + 3 * 0.16 / 9), "q1": 0.08 / (0.16 + 0.32 / 9)})
    assert allocation.choices[0].reason == "the student's own answer counts as right"
    assert figures == pytest.approx(
        {"own": 1.0, "parties": 2.0, "believed": 0.5, "teacher_reliability": 0.6, "student_reliability": 0.6}
    )
    assert state == {}
    empty = rule.apply({}, candidates([]))
    assert empty[1].choices == ()
    assert empty[2]["believed"] == 0.0


def test_no_verdict_is_read():
    table = [replace(row, teacher_right=not right, student_right=right) for row in (SAME, OTHER) for right in (0, 1)]
    plain = [replace(row, teacher_right=None, student_right=None) for row in table]
    assert choose("peer_review", candidates(table)) == choose("peer_review", candidates(plain))


def test_an_empty_path_is_no_lesson():
    table = candidates([SAME])
    own = (replace(table.student_paths[0], text=""),)
    assert choose("peer_review", replace(table, student_paths=own)) == [(0, "teacher")]


def test_the_budget_limits_the_choice():
    table = candidates([SAME] * 20)
    rule, all = make("peer_review", budget=5), choose("peer_review", table)
    few = chosen(rule.apply({}, table)[1])
    assert len(few) == 5
    assert len(all) == 20
    assert set(few) < set(all)


def honest(
    rng: np.random.Generator, n: int, p: int
) -> tuple[np.ndarray, np.ndarray, dict[tuple[int, int], np.ndarray]]:
    """Return answers whose number 0 is right, where it is, and log-probs that tell right paths from wrong ones."""
    right = rng.random((n, p)) < np.linspace(0.85, 0.5, p)
    answers = np.where(right, 0, 1 + np.arange(p))
    numbers = np.array([numbered([str(a) for a in row], lambda x, y: x == y) for row in answers], np.int64)
    log_probs = {(j, w): -1 - 0.5 * ~right[:, w] - 0.2 * rng.random(n) for j in range(p) for w in range(p)}
    return numbers, right, log_probs


@pytest.mark.parametrize(
    "lie",
    [
        lambda true, rng: np.zeros(len(true)),  # all certain
        lambda true, rng: np.full(len(true), np.nan),
        lambda true, rng: np.full(len(true), -np.inf),
        lambda true, rng: np.abs(true) * 1e300,  # above 0
        lambda true, rng: true * 1e200,  # as honest as before, in other units
        lambda true, rng: -3 - true,  # upside down
        lambda true, rng: -rng.exponential(1e3, len(true)),  # noise
    ],
)
def test_a_judge_that_lies_changes_little(lie: Any):
    rng = np.random.default_rng(5)
    answers, right, log_probs = honest(rng, 400, 4)
    parties = ("t", "s", "a", "liar")
    before = estimated(Reviews(parties, answers, log_probs), Prior()).posterior
    lies = {pair: lie(each, rng) if pair[0] == 3 else each for pair, each in log_probs.items()}
    after = estimated(Reviews(parties, answers, lies), Prior()).posterior
    assert np.isfinite(after).all()
    for found in (before, after):
        assert right[found >= 0.6].mean() > 0.95
        assert (found[right] >= 0.6).mean() > 0.9
    assert ((after >= 0.6) == (before >= 0.6)).mean() > 0.97


def test_a_judge_that_is_upside_down_counts_as_one_that_says_nothing():
    answers, _, log_probs = honest(np.random.default_rng(5), 400, 4)
    upside = {pair: -3 - each if pair[0] == 3 else each for pair, each in log_probs.items()}
    silent = {pair: each if pair[0] != 3 else np.full(400, -1.0) for pair, each in log_probs.items()}
    parties = ("t", "s", "a", "liar")
    found, other = (estimated(Reviews(parties, answers, each), Prior()) for each in (upside, silent))
    assert found.posterior == pytest.approx(other.posterior, abs=1e-6)


def test_a_party_that_always_votes_wrong_is_ignored_and_not_inverted():
    answers, right, _ = honest(np.random.default_rng(5), 400, 4)
    liar = np.where(answers == 4, 4, 3)[:, :1] * 0 + 4  # an answer of its own each time
    five = Reviews(("t", "s", "a", "b", "liar"), np.hstack([answers, liar]).astype(np.int64), {})
    found = estimated(five, Prior())
    assert found.reliability[0, 4] < 0.2
    assert found.reliability.min() >= 0.1
    honest_alone = estimated(Reviews(("t", "s", "a", "b"), answers, {}), Prior())
    assert ((found.posterior[:, :4] >= 0.6) == (honest_alone.posterior >= 0.6)).mean() > 0.97
    assert right[found.posterior[:, :4] >= 0.6].mean() > 0.9


@pytest.mark.parametrize(("liars", "believed"), [(1, False), (2, True)])
def test_two_that_always_agree_are_believed_where_they_lie_together(liars: int, believed: bool):
    rng = np.random.default_rng(5)
    right = rng.random((400, 4)) < [0.8, 0.6, 0.6, 0.6]
    answers = np.where(right, 0, 1 + np.arange(4))
    lies = np.arange(400) % 5 == 0  # and they are right everywhere else
    table = np.hstack([answers, np.repeat(np.where(lies, 5, 0)[:, None], liars, 1)])
    numbers = [numbered([str(a) for a in row], lambda x, y: x == y) for row in table]
    found = estimated(reviews(*numbers), Prior())
    assert bool((found.posterior[lies, 4] >= 0.6).mean() > 0.9) is believed
    assert bool((found.posterior[lies, 4] < 0.6).mean() > 0.9) is not believed


@given(st.lists(st.tuples(*[st.integers(-1, 2)] * 3), min_size=1, max_size=30), st.data())
@settings(deadline=None)
def test_posteriors_are_probabilities_whatever_is_claimed(rows: list[tuple[int, ...]], data: st.DataObject):
    wild = st.lists(st.floats(), min_size=len(rows), max_size=len(rows))
    log_probs = {(j, w): np.array(data.draw(wild)) for j, w in ((0, 0), (0, 1), (1, 0), (2, 2))}
    told = Reviews(("t", "s", "a"), np.array(rows, np.int64), log_probs)
    for off in ({}, {"learn": False}, {"votes": False}, {"likelihood": False}):
        with np.errstate(all="raise", under="ignore"):
            found = estimated(told, Prior(), **off)
        assert ((found.posterior >= 0) & (found.posterior <= 1 + 1e-12)).all()
        assert not found.posterior[told.answers < 0].any()
        if "votes" not in off:
            firsts = [sum({v: q for v, q in zip(row, of, strict=True) if v >= 0}.values())
                      for row, of in zip(rows, found.posterior, strict=True)]  # fmt: skip
            assert max(firsts) <= 1 + 1e-9


def test_a_hundred_parties_do_not_overflow():
    found = estimated(reviews_of(np.zeros((50, 100), np.int64)), Prior())
    assert found.posterior == pytest.approx(np.ones((50, 100)))


def reviews_of(answers: np.ndarray) -> Reviews:
    return Reviews(tuple(f"p{i}" for i in range(answers.shape[1])), answers, {})


@pytest.mark.parametrize(
    ("answers", "log_probs"),
    [
        (np.zeros((3, 3), np.int64), {}),
        (np.zeros((3, 2)), {}),
        (np.full((3, 2), 2), {}),
        (np.full((3, 2), -2), {}),
        (np.zeros((3, 2), np.int64), {(0, 1): np.zeros(2)}),
        (np.zeros((3, 2), np.int64), {(0, 2): np.zeros(3)}),
        (np.zeros((3, 2), np.int64), {(-1, 0): np.zeros(3)}),
    ],
)
def test_reviews_of_another_shape_are_refused(answers: np.ndarray, log_probs: Any):
    with pytest.raises(InputError, match="reviews: "):
        Reviews(("t", "s"), answers, log_probs)


def test_reviews_are_arranged_by_name():
    told = Reviews(("a", "b", "c"), np.array([(0, 1, 2), (0, 0, -1)]), {(0, 2): np.array([-1.0, -2.0])})
    found = told.of(("c", "a"), [1])
    assert found.parties == ("c", "a", "b")
    assert found.answers.tolist() == [[-1, 0, 0]]
    assert {pair: each.tolist() for pair, each in found.log_probs.items()} == {(1, 0): [-2.0]}


def test_answers_are_numbered_as_the_task_compares_them():
    assert numbered(["1", None, "1.0", "2", "2"], lambda a, b: float(a or 0) == float(b)) == [0, -1, 0, 1, 1]


def test_a_teacher_that_is_not_trusted_makes_no_claims_about_itself():
    table = candidates([SAME])
    assert set(of_pair(table).log_probs) == {(0, 0), (1, 0), (1, 1)}
    assert set(of_pair(replace(table, trusted=False)).log_probs) == {(1, 0), (1, 1)}
    unknown = replace(table, student_on_teacher=(Likelihood.unknown(8),))
    assert np.isnan(of_pair(unknown).log_probs[1, 0]).all()
    assert of_pair(candidates([SAME, OTHER, TEACHER_ONLY, Row(None, "2")])).answers.tolist() == [
        [0, 0],
        [0, 1],
        [0, -1],
        [-1, 1],
    ]


def test_what_it_needs():
    sure = {Verb.ANSWER, Verb.CONFIDENCE}
    assert ALLOCATORS.make("peer_review", {}).needs == needs(sure, sure, own_paths=True, reviews=True)
    assert FAR == 3.0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"votes": False, "reliability": False, "likelihood": False}, "no evidence"),
        ({"prior": 0.1}, "no more than a guess"),
        ({"threshold": 0.4}, "threshold"),
        ({"answers": 1}, "answers"),
        ({"prior": 1.0}, "prior"),
        ({"strength": 0.0}, "strength"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], why: str):
    with pytest.raises(ValidationError, match=why):
        make("peer_review", **options)
