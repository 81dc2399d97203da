"""SamS: margins, rewards and targets by hand, the draw, and what a round leaves to the next."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from tables import Row, candidates, chosen, make

from lada.allocators.sams import batch_reward, context, reward, sample_rewards

NAN, INF = math.nan, math.inf


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def pairs(*margins: float) -> list[Row]:
    """Return pairs with these margins; the student's own paths have a mean log-prob of -1."""
    return [Row(judged_mean=margin - 1, student_mean=-1.0) for margin in margins]


def table(rows: Sequence[Row], round: int = 1, seed: int = 7):
    return candidates(rows, round=round, seed=seed, embeddings=np.ones((len(rows), 2), np.float32))


def test_the_batch_reward_is_the_rise_of_the_mean_sigmoid():
    before, now = np.array([0.0, -1.0]), np.array([1.0, 0.0])
    by_hand = (sigmoid(1) + 0.5) / 2 - (0.5 + sigmoid(-1)) / 2
    assert batch_reward(before, now) == pytest.approx(by_hand) == pytest.approx(0.2310586)
    assert batch_reward(now, before) == pytest.approx(-0.2310586)
    assert batch_reward(np.zeros(0), np.zeros(0)) == 0
    assert batch_reward(np.array([-1e4]), np.array([0.0])) == pytest.approx(0.5)


def test_a_pairs_own_reward_is_high_where_the_margin_is_and_the_path_is_improbable():
    # Margins scaled to 0, 0.5, 1; log-probs of the chosen path to 1, 0, 0.25.
    found = sample_rewards(np.array([-2.0, -1.0, 0.0]), np.array([-1.0, -5.0, -4.0]))
    assert found == pytest.approx([(0 + 1 - 1) / 2, (0.5 + 1 - 0) / 2, (1 + 1 - 0.25) / 2])
    assert sample_rewards(np.array([3.0]), np.array([-1.0])).tolist() == [0.5]


def test_the_reward_by_hand():
    found = reward(0.2, np.array([0.0, 1.0]), 0.25)
    assert found == pytest.approx([0.25 * sigmoid(0.2) + 0.75 * 0.5, 0.25 * sigmoid(0.2) + 0.75 * sigmoid(1)])


def test_the_context_has_both_probabilities_and_none_of_what_is_not_known():
    rows = [Row(judged_mean=math.log(0.5), student_mean=math.log(0.25)), Row(judged_mean=NAN, student_mean=-INF)]
    likely, own = (np.array([getattr(row, name) for row in rows]) for name in ("judged_mean", "student_mean"))
    assert context(table(rows), likely, own).tolist() == [[1, 1, 0.5, 0.25], [1, 1, 0, 0]]


def test_a_round_is_judged_by_the_next_and_targets_are_stored_before_the_update():
    rule = make("sams", batch_weight=0.5, replay=10)
    state, _, told = rule.apply(rule.init(5), table(pairs(0.0, -1.0, NAN)))
    assert told == {"batch_reward": 0.0}
    assert len(state["pool.rewards"]) == 0
    assert state["seen.margins"].tolist() == [0.0, -1.0]  # the third is not known
    said = state["seen.said"]
    state, _, told = rule.apply(state, table(pairs(1.0, 0.0, 0.0), round=2))
    assert told == {"batch_reward": pytest.approx(0.2310586)}
    # Of the two pairs the first has the higher margin and the likelier path: (1 + 1 - 1) / 2 and (0 + 1 - 0) / 2.
    rewards = 0.5 * sigmoid(0.2310586) + 0.5 * sigmoid(0.5)
    assert state["pool.rewards"] == pytest.approx([rewards, rewards])
    assert state["pool.residuals"] == pytest.approx(rewards - said)
    assert state["pool.context"].shape == (2, 4)
    assert len(state["seen.margins"]) == 3


def test_only_questions_that_come_again_are_judged_and_the_pool_keeps_the_newest():
    rule = make("sams", replay=3)
    state, *_ = rule.apply(rule.init(5), table(pairs(0.0, 0.0, 0.0)))
    state, _, told = rule.apply(state, table(pairs(1.0, NAN), round=2))  # q2 is gone, q1 cannot be judged
    assert told == {"batch_reward": pytest.approx(sigmoid(1) - 0.5)}
    assert len(state["pool.rewards"]) == 1
    for round in (3, 4, 5):
        state, *_ = rule.apply(state, table(pairs(1.0, 1.0), round=round))
    assert len(state["pool.rewards"]) == len(state["pool.inner"]) == 3


def test_exploit_learns_what_pairs_paid():
    rows = [Row(judged_mean=-3.0, student_mean=-5.0)] * 10 + [Row(judged_mean=-1.0, student_mean=-0.5)] * 10
    vectors = np.array([[1.0, 0.0]] * 10 + [[0.0, 1.0]] * 10, np.float32)
    rule = make("sams", epochs=300, batch_weight=0.0, explore_weight=0.0)
    state, *_ = rule.apply(rule.init(5), candidates(rows, embeddings=vectors))
    _, allocation, _ = rule.apply(state, candidates(rows, round=2, embeddings=vectors))
    # s = (1 + 1 - 0) / 2 = 1 for the first half and (0 + 1 - 1) / 2 = 0 for the second: y = σ(1) and σ(0).
    scores = [allocation.scores[f"q{i}"] for i in range(20)]
    assert scores == pytest.approx([sigmoid(1)] * 10 + [0.5] * 10, abs=0.02)


def test_half_is_drawn_by_the_softmax_of_the_scores():
    rule = make("sams", budget=1, explore_weight=0.0)
    rows = [Row(), Row()]
    vectors = np.array([[3.0], [-3.0]], np.float32)
    state = rule.init(5)
    found = [rule.apply(state, candidates(rows, seed=seed, embeddings=vectors))[1] for seed in range(2000)]
    drawn = Counter(chosen(allocation)[0][0] for allocation in found)
    scores = found[0].scores
    assert drawn[0] / 2000 == pytest.approx(sigmoid(scores["q0"] - scores["q1"]), abs=0.03)
    assert len(chosen(make("sams").apply(state, table([Row()] * 7))[1])) == 3


def test_wrong_paths_are_learnt_from_and_not_drawn_with_gold():
    rule = make("sams", gold=True)
    rows = [Row(teacher_right=i % 2 == 0) for i in range(6)]
    state, allocation, _ = rule.apply(rule.init(5), table(rows))
    assert sorted(chosen(allocation)) == [(i, "teacher") for i in (0, 2, 4)]
    assert len(state["seen.margins"]) == 6
