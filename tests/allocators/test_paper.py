"""The paper's filter: every formula by hand, rewards by sample, five rounds, no lock at nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import Row, candidates, chosen, make, rows

from lada.allocators.base import ALLOCATORS, Candidates, State, Studied, lesson_key
from lada.allocators.features import features
from lada.allocators.networks import fit, hidden_state, new_network, predict
from lada.allocators.paper import EXPLORED, LadaPaperOptions, batch_rewards, by_scores, sample_terms
from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.terms import Allocation, Verb

SEED = 11
QUICK = {"hidden": 8, "epochs": 3, "clusters": 2}
LN = math.log
FORMS: list[dict[str, Any]] = [{}, {"reward": "batches"}, {"context": "numbers"}, {"choose": "softmax"}]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def two_kinds(count: int) -> np.ndarray:
    """Return embeddings of two kinds of questions: the first half, the second half."""
    return np.repeat(np.eye(2, dtype=np.float32), count // 2, axis=0)


def positions(allocation: Allocation) -> list[int]:
    return [position for position, _ in chosen(allocation)]


def key(place: int, answer: str = "1") -> int:
    return lesson_key(f"q{place}", f"answer {answer}")


def studied(round: int, *batches: Mapping[int, float]) -> Studied:
    """Return a study with the loss of each lesson in each step, by its place."""
    rows = [(step, key(place), loss) for step, batch in enumerate(batches) for place, loss in batch.items()]
    steps, keys, losses = zip(*rows, strict=True)
    return Studied(round, np.array(steps), np.array(keys, np.int64), np.array(losses, np.float64))


def untrained(inputs: int, name: str, hidden: int = 8) -> dict[str, np.ndarray]:
    """Return a network that says 0.5 (Exploit) or 0 (Explore) of whatever it sees."""
    begun = {**new_network(inputs, hidden, SEED, name), "w2": np.zeros(hidden, np.float32)}
    return {**begun, "b2": np.array(0.5 if name == "exploit" else 0, np.float32)}


def network(state: State, name: str) -> dict[str, np.ndarray]:
    return {part: state[f"{name}.{part}"] for part in ("w1", "b1", "w2", "b2")}


def blocks(weights: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Return what Explore sees of a network of 8 hidden units: the means of the first five and the other three."""
    return np.array([[h[:5].mean(), h[5:].mean()] for h in hidden_state(weights, x)])


def through(filter: Any, tables: Sequence[Candidates]) -> list[tuple[State, Allocation, dict[str, float]]]:
    state, found = filter.init(SEED), []
    for table in tables:
        state, allocation, diagnostics = filter.apply(state, table)
        found.append((state, allocation, diagnostics))
    return found


def by_losses(*losses: float, **more: Any) -> list[Candidates]:
    """Return rounds of six samples of two kinds, on all of which the student has the same loss."""
    return [
        candidates([Row(judged_mean=-loss)] * 6, round=n, embeddings=two_kinds(6), seed=n, **more)
        for n, loss in enumerate(losses, 1)
    ]


def test_without_a_reward_the_choice_is_spread_over_clusters():
    (state, allocation, diagnostics), *_ = through(make("lada_paper", **QUICK, budget=2), by_losses(1.0))
    assert sorted(position // 3 for position in positions(allocation)) == [0, 1]
    assert {source for _, source in chosen(allocation)} == {"teacher"}
    assert allocation.scores == {f"q{i}": 0.5 for i in range(6)}
    assert {choice.reason.partition(",")[0] for choice in allocation.choices} == {"no reward yet"}
    assert diagnostics == {"history": 0.0, "above_threshold": 0.0, "filled": 0.0}
    for name, inputs in (("exploit", 2), ("explore", 2)):
        for part, array in untrained(inputs, name).items():
            assert np.array_equal(state[f"{name}.{part}"], array)


@pytest.mark.parametrize(("options", "count"), [({}, 5), ({"budget": 3}, 3), ({"budget": None}, 10)])
def test_the_budget_is_half_of_the_candidates_unless_it_is_said(options: dict[str, Any], count: int):
    table = candidates([Row()] * 10, embeddings=two_kinds(10))
    ((_, allocation, _),) = through(make("lada_paper", **QUICK, **options), [table])
    assert len(allocation.choices) == count


def test_rewards_of_rounds_by_hand():
    tables = by_losses(LN(4), LN(2), LN(2), LN(8), LN(8))
    found = through(make("lada_paper", **QUICK, budget=2, threshold=-100.0), tables)
    # S of two samples: 8, 4, 4, 16. Round 1's choice is rewarded in round 3, once round 2's is known; and so on.
    rewards = [sigmoid((8 - 4) / 8), sigmoid(0), sigmoid((4 - 16) / 16)]
    assert [diagnostics["history"] for _, _, diagnostics in found] == [0, 0, 2, 4, 6]
    assert ["rewarded" in diagnostics for _, _, diagnostics in found] == [False, False, True, True, True]
    assert [d["reward"] for _, _, d in found[2:]] == [round(reward, 4) for reward in rewards]
    last, _, _ = found[-1]
    assert last["history.reward"] == pytest.approx(np.repeat(rewards, 2))
    for n, (state, _, _) in enumerate(found[:3]):
        assert np.array_equal(last["history.x"][2 * n : 2 * n + 2], state["pending.x"])
        assert np.array_equal(last["history.inner"][2 * n : 2 * n + 2], state["pending.inner"])


def test_sums_count_how_many_were_chosen():
    # Three samples of exp(loss) 2 and then one of 2: nothing has become easier, and the reward says that much has.
    table, filter = by_losses(LN(2))[0], make("lada_paper", **QUICK, budget=0.5)
    few = only(table, 0)
    (*_, (state, _, _)) = through(filter, [table, replace(few, round=2), replace(table, round=3)])
    assert state["history.reward"] == pytest.approx([sigmoid((6 - 2) / 6)] * 3)


def test_explore_learns_what_exploit_missed_when_the_sample_was_chosen():
    tables = by_losses(LN(4), LN(2), LN(2), LN(8), LN(8))
    found = through(make("lada_paper", **QUICK, budget=2, threshold=-100.0), tables)
    last, _, _ = found[-1]
    for n, (state, allocation, _) in enumerate(found[:3]):
        x = tables[n].embed()[positions(allocation)] * np.float32(math.sqrt(2))  # mean square 1
        np.testing.assert_allclose(state["pending.x"], x, rtol=1e-6)
        exploit = network(state, "exploit")
        then, rows = predict(exploit, x), slice(2 * n, 2 * n + 2)
        np.testing.assert_allclose(last["history.missed"][rows], last["history.reward"][rows] - then, rtol=1e-6)
        np.testing.assert_allclose(last["history.inner"][rows], blocks(exploit, x), rtol=1e-6)
    # Exploit was untrained in rounds 1 and 2; what it missed of the third choice is of what it had learnt by then.
    assert last["history.missed"][:4] == pytest.approx(last["history.reward"][:4] - 0.5)
    assert abs(last["history.missed"][4:] - (last["history.reward"][4:] - 0.5)).min() > 1e-4


def test_both_networks_are_trained_for_ten_epochs_on_the_history_and_scores_are_their_sum():
    assert LadaPaperOptions().epochs == 10
    tables = by_losses(LN(4), LN(2), LN(2), LN(8))
    found = through(make("lada_paper", hidden=8, clusters=2, budget=2, explore_weight=0.7), tables)
    exploit, explore = untrained(2, "exploit"), untrained(2, "explore")
    for number in (2, 3):
        state, allocation, _ = found[number]
        training = {"epochs": 10, "learning_rate": 0.01}
        exploit = fit(exploit, state["history.x"], state["history.reward"], **training)
        explore = fit(explore, state["history.inner"], state["history.missed"], **training)
        for name, weights in (("exploit", exploit), ("explore", explore)):
            assert all(np.array_equal(state[f"{name}.{part}"], weights[part]) for part in weights)
        x = tables[number].embed() * np.float32(math.sqrt(2))
        score = predict(exploit, x) + 0.7 * predict(explore, blocks(exploit, x))
        np.testing.assert_allclose(list(allocation.scores.values()), score, rtol=1e-5)


def test_rewards_of_batches_by_hand():
    # Means 3, 1.5, 2: drops 1/2 and -1/4. Sample 0 was in the first two batches, 3 in the last alone.
    found = batch_rewards(studied(1, {0: 2.0, 1: 4.0}, {0: 1.0, 2: 2.0}, {1: 1.0, 3: 3.0}))
    first, second = sigmoid(0.5), sigmoid(-0.25)
    assert found == pytest.approx({key(0): (first + second) / 2, key(1): first, key(2): second})
    assert batch_rewards(studied(1, {0: 2.0})) == {}


def test_a_samples_own_term_by_hand():
    table = candidates(
        [
            Row(judged_mean=-1.0, student_mean=-0.5),  # margin -0.5
            Row(judged_mean=-3.0, student_mean=-0.5),  # -2.5
            Row(judged_mean=-2.0, student_mean=-3.5),  # +1.5
            Row(judged_mean=math.nan, student_mean=-0.5),
            Row(judged_mean=-1.0, student_mean=math.nan),
        ]
    )
    # Margins scaled: 0.5, 0, 1; log-probs of the teacher's paths: 1, 0, 0.5, and 1 for the last.
    expected = [(0.5 + 0.0) / 2, (0.0 + 1.0) / 2, (1.0 + 0.5) / 2, (0.5 + 0.5) / 2, (0.5 + 0.0) / 2]
    assert sample_terms(table) == pytest.approx(expected)
    assert sample_terms(candidates([Row()] * 3)) == pytest.approx([0.5] * 3)


@pytest.mark.parametrize("gamma", [0.5, 0.2])
def test_a_reward_of_batches_weighs_both_terms_and_follows_the_sample(gamma: float):
    table = candidates(
        [Row(judged_mean=-1.0 - i, student_mean=-0.5 - i % 2) for i in range(4)], embeddings=two_kinds(4)
    )
    filter = make("lada_paper", reward="batches", gamma=gamma, budget=None, **QUICK)
    study = studied(1, {0: 2.0, 1: 4.0}, {0: 1.0, 2: 2.0}, {1: 1.0, 3: 3.0})
    # In round 2 two samples are missing and the others come in another order.
    (first, allocation, _), (state, _, diagnostics) = through(
        filter, [table, replace(only(table, 3, 0), round=2, studied=study)]
    )
    order = [place for place in positions(allocation) if place != 3]
    drops, terms = batch_rewards(study), sample_terms(table)
    expected = [gamma * drops[key(place)] + (1 - gamma) * sigmoid(terms[place]) for place in order]
    assert len(set(terms.tolist())) > 1
    assert state["history.reward"] == pytest.approx(expected)
    assert diagnostics["rewarded"] == 3
    kept = [positions(allocation).index(place) for place in order]
    assert np.array_equal(state["history.x"], first["pending.x"][kept])
    assert state["history.missed"] == pytest.approx(np.array(expected) - 0.5)


def test_what_was_not_studied_has_no_reward():
    table = candidates([Row(str(i)) for i in range(4)], embeddings=two_kinds(4))
    filter = make("lada_paper", reward="batches", budget=None, **QUICK)

    def history(study: Studied | None) -> float:
        return through(filter, [table, replace(table, round=2, studied=study)])[1][2]["history"]

    own = [key(0, "0"), key(1, "1"), key(2, "2"), key(3, "3")]
    whole = Studied(1, np.array([0, 0, 1, 1]), np.array(own), np.array([2.0, 2, 1, 1]))
    assert history(whole) == 2
    assert history(None) == 0
    assert history(replace(whole, round=0)) == 0
    # Another's path for sample 1 was learnt in its place.
    assert history(replace(whole, keys=np.array([key(0, "0"), key(1, "9"), *own[2:]]))) == 1
    nothing = np.zeros(0, np.int64)
    assert history(Studied(1, nothing, nothing, np.zeros(0))) == 0


def pick(scores: np.ndarray, missed: np.ndarray | None = None, seed: int = 1, **options: Any) -> list[tuple[int, str]]:
    missed = np.zeros(len(scores)) if missed is None else missed
    picked, reasons = by_scores(LadaPaperOptions(**options), seed, scores, missed)
    assert picked == list(reasons)
    return list(reasons.items())


def test_what_scores_above_the_threshold_is_taken_best_first_up_to_the_budget():
    scores = np.array([0.4, 0.9, 0.5, 0.6, 0.7, 0.51])
    assert pick(scores, budget=3) == [(place, "expected reward") for place in (1, 4, 3)]
    assert pick(scores - 0.3, budget=3) == [(1, "expected reward")]


@pytest.mark.parametrize(
    ("options", "above", "filled"),
    [
        ({"floor": 0.5}, [1], [5, 3]),  # one is above; of the others these have the highest Explore
        ({"floor": 0.5, "budget": 2}, [1], [5]),
        ({"floor": 0.01, "threshold": 1.0}, [], [1]),
        ({"floor": 1.0, "threshold": 0.3, "budget": None}, [1, 2, 0], [5, 3, 4]),
        ({"floor": 0.01}, [1], []),
    ],
)
def test_exploration_fills_up_to_the_floor(options: dict[str, Any], above: list[int], filled: list[int]):
    scores, missed = np.array([0.4, 0.9, 0.45, 0.2, 0.1, 0.0]), np.array([-1, 0.5, -2, 0.2, -3, 0.4])
    expected = [*((place, "expected reward") for place in above), *((place, EXPLORED) for place in filled)]
    assert pick(scores, missed, **options) == expected


def test_rewards_below_a_half_do_not_lock_it():
    """The student gets worse and worse, so that nothing scores above the threshold, and then better."""
    tables = by_losses(LN(2), LN(20), LN(200), LN(2000), LN(20), LN(2), LN(2), LN(2), LN(2))
    found = through(make("lada_paper", clusters=2, epochs=200), tables)
    above = [diagnostics["above_threshold"] for _, _, diagnostics in found]
    assert above[2:4] == [0, 0]
    assert found[2][2]["filled"] == found[3][2]["filled"] == 1
    assert all(allocation.choices for _, allocation, _ in found)
    assert above[-1] > 0


def test_a_draw_by_softmax():
    scores = np.array([0.0, LN(2), LN(5)])
    draws = [pick(scores, seed=seed, choose="softmax", budget=1)[0][0] for seed in range(4000)]
    assert np.bincount(draws, minlength=3) / 4000 == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.025)
    assert len(pick(np.arange(10) / 10, choose="softmax")) == 5


def test_numbers_are_those_of_ladas_filter_without_answers():
    table = candidates([Row("1", "2", True, False, -0.1 * i) for i in range(6)], embeddings=two_kinds(6))
    ((state, allocation, _),) = through(make("lada_paper", context="numbers", **QUICK), [table])
    x = features(table, state["clusters"], 2)
    assert np.array_equal(state["pending.x"], x[positions(allocation)])


def only(table: Candidates, *places: int) -> Candidates:
    """Return some of a table's candidates, in this order."""
    per_sample = ("samples", "teacher_paths", "student_paths", "student_on_teacher", "agree")
    rows = {name: tuple(getattr(table, name)[place] for place in places) for name in per_sample}
    return replace(table, **rows, embed=lambda: table.embed()[list(places)])


@pytest.mark.parametrize("options", FORMS)
def test_samples_may_be_missing_in_any_round(options: dict[str, Any]):
    filter = make("lada_paper", **QUICK, **options)
    table = candidates([Row(judged_mean=-1.0 - i) for i in range(12)], embeddings=two_kinds(12))
    state: State = filter.init(SEED)
    clusters: dict[int, int] = {}
    for round, places in enumerate([(0, 1, 2, 3, 6, 7, 8), (9, 7, 1, 2), (), (1, 0, 9), (4,)], 1):
        study = studied(round - 1, {place: 1.0 + place for place in range(12)}, dict.fromkeys(range(12), 0.5))
        before = state
        state, allocation, _ = filter.apply(state, replace(only(table, *places), round=round, studied=study))
        assert set(positions(allocation)) <= set(places)
        assert set(allocation.scores) == {f"q{place}" for place in places}
        assert state is before if not places else len(allocation.choices) >= 1
        known = dict(zip(state["samples"].tolist(), state["clusters"].tolist(), strict=True))
        assert known.items() >= clusters.items()
        clusters = known
    assert len(clusters) == 9  # 0 to 3, 6 to 8, 9 and 4
    assert len(state["history.reward"]) > 0


@settings(max_examples=25, deadline=None)
@given(rows(8), st.sampled_from(FORMS))
def test_no_gold_answer_is_read(table: list[Row], form: dict[str, Any]):
    def run(rows: list[Row]) -> list[Any]:
        vectors = np.array([[1.0, i % 3] for i in range(len(rows))], np.float32)
        tables = [candidates(rows, round=n, embeddings=vectors) for n in (1, 2, 3)]
        return through(make("lada_paper", **{**QUICK, "epochs": 1}, **form), tables)

    flipped = [replace(row, teacher_right=not row.teacher_right, student_right=None) for row in table]
    for (a, first, _), (b, second, _) in zip(run(table), run(flipped), strict=True):
        assert first == second
        assert arrays_to_bytes(a) == arrays_to_bytes(b)


def odd(log_prob: float) -> Row:
    """Return a sample of which all log-probs are the same."""
    names = [f"{who}_{what}" for who in ("teacher", "student", "judged") for what in ("mean", "least")]
    return replace(Row(), **dict.fromkeys(names, log_prob))


NAN_ROW, BEYOND, HUGE = odd(math.nan), odd(-math.inf), odd(-1e6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", FORMS)
@pytest.mark.parametrize(
    "table",
    [[], [Row()], [NAN_ROW] * 3, [BEYOND] * 3, [HUGE] * 3, [Row(), NAN_ROW, BEYOND, HUGE]],
    ids=["nothing", "one", "no log-probs", "impossible", "huge losses", "a mixture"],
)
def test_odd_public_sets(table: list[Row], options: dict[str, Any]):
    filter = make("lada_paper", **QUICK, **options)
    state = filter.init(SEED)
    for number in (1, 2, 3, 4):
        alike = np.ones((len(table), 3), np.float32)
        state, allocation, _ = filter.apply(state, candidates(table, round=number, embeddings=alike))
        assert len(allocation.choices) == max(round(len(table) / 2), min(1, len(table))) or number > 2
        assert all(math.isfinite(score) for score in allocation.scores.values())
        assert all(np.isfinite(array).all() for name, array in state.items() if not name.endswith("losses"))


@pytest.mark.parametrize("options", FORMS)
def test_the_state_says_it_all(options: dict[str, Any]):
    table = candidates([Row(judged_mean=-1.0 - i) for i in range(12)], embeddings=two_kinds(12))
    state = make("lada_paper", **options, **QUICK).init(SEED)
    for round in (1, 2, 3, 4):
        study = studied(round - 1, dict.fromkeys(range(12), 2.0), dict.fromkeys(range(12), 1.0))
        now = replace(table, round=round, studied=study)
        once = make("lada_paper", **options, **QUICK).apply(state, now)
        again = make("lada_paper", **options, **QUICK).apply(bytes_to_arrays(arrays_to_bytes(state)), now)
        assert arrays_to_bytes(once[0]) == arrays_to_bytes(again[0])
        assert once[1:] == again[1:]
        state = once[0]


def test_the_history_keeps_the_latest_rewards():
    found = through(make("lada_paper", **QUICK, budget=2, replay=3), by_losses(LN(4), LN(2), LN(2), LN(8)))
    assert found[2][2]["history"] == 2
    state, _, diagnostics = found[3]
    assert diagnostics["history"] == 3
    assert state["history.reward"] == pytest.approx([sigmoid(0.5), 0.5, 0.5])
    assert len(state["history.x"]) == len(state["history.inner"]) == len(state["history.missed"]) == 3


@pytest.mark.parametrize(
    ("options", "confident", "watched"),
    [
        ({}, (False, False), False),
        ({"reward": "batches"}, (False, True), True),
        ({"context": "numbers"}, (True, True), False),
    ],
)
def test_it_asks_for_what_it_looks_at(options: dict[str, Any], confident: tuple[bool, bool], watched: bool):
    asked = ALLOCATORS.get("lada_paper").needs_of(options)
    assert tuple(Verb.CONFIDENCE in verbs for verbs in (asked.teacher, asked.student)) == confident
    assert {Verb.ANSWER, Verb.JUDGE, Verb.EMBED} <= asked.student
    assert asked.lesson_losses == watched
    assert asked.own_paths == any(confident)


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor": 0.0},
        {"floor": 1.5},
        {"gamma": -0.1},
        {"reward": "correctness"},
        {"choose": "best"},
        {"budget": 0},
        {"epochs": 0},
        {"replay": 0},
        {"threshold": math.nan},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        LadaPaperOptions(**wrong)
