import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import Row, candidates, chosen, make, rows

from lada.allocators.base import Candidates, State
from lada.allocators.features import features, prior_reward
from lada.allocators.lada import LadaOptions
from lada.allocators.networks import fit, hidden_state, new_network, predict
from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.errors import InputError
from lada.core.seeds import seed_of
from lada.core.terms import Allocation

QUICK = {"hidden": 8, "epochs": 3}
PAPER = {"reward": "paper", "prior": False, "gold": False}
SEED = 11
NAN = math.nan


def two_kinds(count: int) -> np.ndarray:
    """Return embeddings of two kinds of questions: the first half, the second half."""
    return np.repeat(np.eye(2, dtype=np.float32), count // 2, axis=0)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def equal(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and _same(a[k], b[k]) for k in a)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def positions(allocation: Allocation) -> list[int]:
    return [position for position, _ in chosen(allocation)]


MIXED = [Row(*answers, *right, teacher_mean=-0.25) for answers, right in [
    (("1", "2"), (True, False)),
    (("1", "1"), (True, True)),
    (("1", "2"), (False, True)),
    (("1", "2"), (False, False)),
] for _ in range(3)]  # fmt: skip


def test_the_first_round_by_rule_prefers_what_only_the_teacher_gets_right():
    filter = make("lada", threshold=0.6)
    state, allocation, diagnostics = filter.apply(filter.init(SEED), candidates(MIXED))
    assert sorted(chosen(allocation)) == [(0, "teacher"), (1, "teacher"), (2, "teacher")]
    assert diagnostics == {"history": 0.0, "auc_teacher_right": 1.0}
    x, rewards = features(candidates(MIXED), state["clusters"], 8, gold=True), [1.0] * 3 + [0.5] * 3 + [0.0] * 6
    rule = fit(new_network(x.shape[1], 100, SEED, "exploit"), x, np.array(rewards), epochs=200, learning_rate=0.01)
    assert all(np.array_equal(state[f"exploit.{name}"], rule[name]) for name in rule)
    assert {choice.reason.partition(",")[0] for choice in allocation.choices} == {"expected gain"}


def test_what_scores_above_the_threshold_is_chosen_best_first_within_a_cluster():
    filter = make("lada", gold=False)
    table = [Row("1", "2", teacher_mean=-0.1 * i, student_mean=-1.0) for i in range(20)]
    _, allocation, _ = filter.apply(filter.init(SEED), candidates(table, embeddings=two_kinds(20)))
    scores = [allocation.scores[f"q{i}"] for i in range(20)]
    above = {i for i, score in enumerate(scores) if score > 0.5}
    assert 0 < len(above) < 20
    assert set(positions(allocation)) == above
    assert [choice.score for choice in allocation.choices] == [scores[i] for i in positions(allocation)]
    for kind in (range(10), range(10, 20)):
        taken = [scores[i] for i in positions(allocation) if i in kind]
        assert taken == sorted(taken, reverse=True)


@pytest.mark.parametrize("explore_input", ["hidden", "gradient"])
def test_explore_learns_what_exploit_missed_from_its_inner_state(explore_input: str):
    options = {**QUICK, "explore_input": explore_input, "explore_weight": 0.3, "clusters": 2}
    filter = make("lada", **options)
    table = candidates(MIXED, embeddings=two_kinds(12))
    state, allocation, _ = filter.apply(filter.init(SEED), table)
    x, rewards = features(table, state["clusters"], 2, gold=True), prior_reward(table, gold=True)
    training = {"epochs": 3, "learning_rate": 0.01}
    exploit = fit(new_network(x.shape[1], 8, SEED, "exploit"), x, rewards, **training)

    def gradient(row: np.ndarray) -> np.ndarray:
        w1, b1, w2, b2 = (torch.tensor(exploit[name], requires_grad=True) for name in ("w1", "b1", "w2", "b2"))
        (w2 @ torch.relu(w1 @ torch.tensor(row) + b1) + b2).backward()
        return torch.cat([t.grad.reshape(-1) for t in (w1, b1, w2, b2) if t.grad is not None]).numpy()

    # Means of blocks: 5 of 8 hidden units; 50 of 8·12 + 8 + 8 + 1 = 113 derivatives.
    if explore_input == "hidden":
        inner = np.array([[h[:5].mean(), h[5:].mean()] for h in hidden_state(exploit, x)])
    else:
        inner = np.array([[g[:50].mean(), g[50:100].mean(), g[100:].mean()] for g in map(gradient, x)])
    residual = rewards - predict(exploit, x)
    explore = fit(new_network(inner.shape[1], 8, SEED, "explore"), inner, residual, **training)
    score = predict(exploit, x) + 0.3 * predict(explore, inner)
    for name in exploit:
        assert np.array_equal(state[f"exploit.{name}"], exploit[name])
        np.testing.assert_allclose(state[f"explore.{name}"], explore[name], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(list(allocation.scores.values()), score, rtol=1e-4, atol=1e-5)


def test_the_networks_go_on_from_where_they_were():
    filter = make("lada", prior=False, **QUICK)
    table = candidates(MIXED)
    rewarded, _, _ = filter.apply(filter.init(SEED), table)
    first, _, _ = filter.apply(rewarded, replace(table, round=2))
    second, _, _ = filter.apply(first, replace(table, round=3))
    before = {name: first[f"exploit.{name}"] for name in ("w1", "b1", "w2", "b2")}
    after = fit(before, second["history.features"], second["history.rewards"], epochs=3, learning_rate=0.01)
    assert all(np.array_equal(second[f"exploit.{name}"], after[name]) for name in after)


def test_the_rule_is_asked_again_in_every_round():
    # In round 1 the teacher has nothing to teach, in round 2 it has: the rule's 1 are of round 2, its 0 not kept.
    filter = make("lada", threshold=0.6)
    before = candidates([Row("1", "2", False, False, teacher_mean=-0.25)] * 6)
    after = replace(candidates(MIXED[:6]), round=2)
    first, nothing, _ = filter.apply(filter.init(SEED), before)
    second, allocation, diagnostics = filter.apply(first, after)
    assert not nothing.choices
    assert sorted(chosen(allocation)) == [(0, "teacher"), (1, "teacher"), (2, "teacher")]
    assert diagnostics["history"] == 0
    x = features(after, first["clusters"], 8, gold=True)
    start = {name: first[f"exploit.{name}"] for name in ("w1", "b1", "w2", "b2")}
    rule = fit(start, x, np.array([1.0] * 3 + [0.5] * 3), epochs=200, learning_rate=0.01)
    assert all(np.array_equal(second[f"exploit.{name}"], rule[name]) for name in rule)


def test_rewards_are_learnt_after_what_the_rule_says():
    filter = make("lada", threshold=0.6, **{**QUICK, "epochs": 50})
    first, allocation, _ = filter.apply(filter.init(SEED), candidates(MIXED))
    # Everything chosen is unlearnt.
    again = candidates([replace(row, student_right=False) for row in MIXED], round=2)
    second, _, diagnostics = filter.apply(first, again)
    rewards = np.full(len(allocation.choices), 0.5)
    assert diagnostics["history"] == len(rewards) > 0
    assert np.array_equal(second["history.rewards"], rewards)
    x = np.concatenate([features(again, first["clusters"], 8, gold=True), first["pending.features"]])
    start = {name: first[f"exploit.{name}"] for name in ("w1", "b1", "w2", "b2")}
    taught = np.concatenate([prior_reward(again, gold=True), rewards])
    exploit = fit(start, x, taught, epochs=50, learning_rate=0.01)
    assert all(np.array_equal(second[f"exploit.{name}"], exploit[name]) for name in exploit)


def test_correctness_is_rewarded_one_round_later():
    filter = make("lada", prior=False, **QUICK)
    before = [Row(teacher_right=True, student_right=solved) for solved in (False, False, True, True)]
    after = [Row(teacher_right=True, student_right=solved) for solved in (True, False, True, False)]
    first, allocation, diagnostics = filter.apply(filter.init(SEED), candidates(before))
    assert diagnostics == {"history": 0.0}
    assert set(allocation.scores.values()) == {0.5}
    second, _, diagnostics = filter.apply(first, candidates(after, round=2))
    assert diagnostics["history"] == 4
    rewards = dict(zip(positions(allocation), second["history.rewards"].tolist(), strict=True))
    assert rewards == {0: 1.0, 1: 0.5, 2: 0.5, 3: 0.0}
    assert np.array_equal(second["history.features"], first["pending.features"])


def test_it_learns_which_questions_pay():
    # Questions of the first kind are solved after the study, those of the second are unlearnt.
    filter = make("lada", prior=False, clusters=2)
    before = [Row(teacher_right=True, student_right=i >= 10) for i in range(20)]
    after = [Row(teacher_right=True, student_right=i < 10) for i in range(20)]
    state, allocation, _ = filter.apply(filter.init(SEED), candidates(before, embeddings=two_kinds(20)))
    assert len(allocation.choices) == 20
    state, _, _ = filter.apply(state, candidates(after, round=2, embeddings=two_kinds(20)))
    # The student is again what it was when it gained, or lost.
    _, allocation, _ = filter.apply(state, candidates(before, round=3, embeddings=two_kinds(20)))
    scores = [allocation.scores[f"q{i}"] for i in range(20)]
    assert min(scores[:10]) > 0.8
    assert max(scores[10:]) < 0.2
    assert sorted(positions(allocation)) == list(range(10))


def test_the_papers_form_over_three_rounds():
    filter = make("lada", **PAPER, budget=2, clusters=2)
    embeddings = two_kinds(6)

    def table(round: int, loss: float) -> Any:
        return candidates([Row(judged_mean=-loss)] * 6, round=round, embeddings=embeddings, seed=round)

    state: State = filter.init(SEED)
    picked, rounds = [], []
    for round, loss in ((1, math.log(4)), (2, math.log(2)), (3, math.log(2))):
        state, allocation, diagnostics = filter.apply(state, table(round, loss))
        picked.append(positions(allocation))
        rounds.append((diagnostics["history"], set(allocation.scores.values()) == {0.5}))
    # Clusters alone decide twice: one question of each kind. The reward needs two selections, so it comes in round 3.
    assert rounds == [(0.0, True), (0.0, True), (2.0, False)]
    assert all(sorted(position // 3 for position in choice) == [0, 1] for choice in picked[:2])
    # S of round 1 is 2 · exp(log 4) = 8, of round 2 it is 4: r = (8 − 4) / 8, for both samples of round 1.
    assert state["history.rewards"].tolist() == pytest.approx([sigmoid(0.5)] * 2)
    state, _, _ = filter.apply(state, table(4, math.log(2)))
    assert len(picked[2]) == 2
    # Round 3's selection under round 3's weights: S is 4 again, so r = 0.
    assert state["history.rewards"].tolist() == pytest.approx([sigmoid(0.5)] * 2 + [0.5] * 2)


def test_probes_are_held_out_and_reward_their_cluster():
    filter = make("lada", reward="probe_drop", prior=False, clusters=2, probe_share=0.25, **QUICK)
    before = [Row(teacher_right=True, judged_mean=-2.0)] * 16
    after = [Row(teacher_right=True, judged_mean=-1.0 if i < 8 else -4.0) for i in range(16)]
    state, allocation, _ = filter.apply(filter.init(5), candidates(before, embeddings=two_kinds(16)))
    probes = np.flatnonzero(state["probe"])
    assert len(probes) == 4
    assert {0, 1} == {int(i) // 8 for i in probes}
    assert sorted(positions(allocation)) == sorted(set(range(16)) - set(probes.tolist()))
    state, _, _ = filter.apply(state, candidates(after, round=2, embeddings=two_kinds(16)))
    # 2 -> 1 nat is a drop of 1/2, 2 -> 4 one of −1/2.
    expected = [sigmoid(0.5 if position < 8 else -0.5) for position in positions(allocation)]
    assert state["history.rewards"].tolist() == pytest.approx(expected)


def test_the_replay_keeps_the_latest_rewards_and_trains_on_no_others():
    filter = make("lada", replay=5, threshold=-100.0, gold=False, **QUICK)
    table = candidates([Row("1", "2", teacher_least=-i / 10, student_least=-0.5) for i in range(8)])
    first, allocation, diagnostics = filter.apply(filter.init(SEED), table)
    assert diagnostics["history"] == 0
    second, _, diagnostics = filter.apply(first, replace(table, round=2))
    assert diagnostics["history"] == 5
    assert np.array_equal(second["history.features"], first["pending.features"][-5:])
    assert len(allocation.choices) == 8
    # Beside the rule's of this round, which are not kept.
    x = np.concatenate([features(table, first["clusters"], 8, gold=False), second["history.features"]])
    start = {name: first[f"exploit.{name}"] for name in ("w1", "b1", "w2", "b2")}
    rewards = np.concatenate([prior_reward(table, gold=False), second["history.rewards"]])
    exploit = fit(start, x, rewards, epochs=3, learning_rate=0.01)
    assert all(np.array_equal(second[f"exploit.{name}"], exploit[name]) for name in exploit)


def frozen(state: State) -> State:
    for array in state.values():
        array.flags.writeable = False
    return state


@pytest.mark.parametrize("options", [{}, {"gold": False, "explore_input": "gradient"}, PAPER, {"reward": "probe_drop"}])
def test_the_state_says_it_all(options: dict[str, Any]):
    table = candidates(MIXED, embeddings=two_kinds(12))
    table.embed().flags.writeable = False
    state = make("lada", **options, **QUICK).init(SEED)
    for round in (1, 2, 3):
        now = replace(table, round=round)
        once = make("lada", **options, **QUICK).apply(frozen(state), now)
        again = make("lada", **options, **QUICK).apply(state, now)
        restored = make("lada", **options, **QUICK).apply(bytes_to_arrays(arrays_to_bytes(state)), now)
        for other in (again, restored):
            assert equal(once[0], other[0])
            assert once[1:] == other[1:]
        state = once[0]


def test_the_filter_depends_on_its_seed():
    a, b = (make("lada", **QUICK) for _ in range(2))
    table = candidates(MIXED)
    scores = [f.apply(f.init(seed), table)[1].scores for f, seed in ((a, 1), (b, 1), (b, 2))]
    assert scores[0] == scores[1] != scores[2]


forms = st.fixed_dictionaries(
    {
        "reward": st.sampled_from(["correctness", "probe_drop", "paper"]),
        "prior": st.booleans(),
        "budget": st.sampled_from([None, 1, 3]),
        "threshold": st.sampled_from([-100.0, 0.5]),
        "clusters": st.just(2),
        "epochs": st.just(1),
        "hidden": st.just(4),
    }
)


def two_rounds(table: list[Row], options: dict[str, Any]) -> list[tuple[State, Allocation]]:
    filter = make("lada", **options)
    state, results = filter.init(SEED), []
    for round in (1, 2):
        state, allocation, _ = filter.apply(state, candidates(table, round=round, embeddings=_few_kinds(table)))
        results.append((state, allocation))
    return results


def _few_kinds(table: list[Row]) -> np.ndarray:
    return np.array([[1.0, i % 3] for i in range(len(table))], np.float32)


@settings(max_examples=40)
@given(rows(8), forms)
def test_with_gold_answers_no_path_known_to_be_wrong_is_chosen(table: list[Row], form: dict[str, Any]):
    for _, allocation in two_rounds(table, {**form, "gold": True}):
        picks = chosen(allocation)
        assert {source for _, source in picks} <= {"teacher"}
        assert all(table[position].teacher_right is not False for position, _ in picks)
        assert len(picks) <= (form["budget"] or len(table))
        assert len(set(picks)) == len(picks)
        assert all(math.isfinite(score) for score in allocation.scores.values())


@settings(max_examples=40)
@given(rows(8), forms)
def test_without_gold_answers_none_is_read(table: list[Row], form: dict[str, Any]):
    flipped = [replace(row, teacher_right=not row.teacher_right, student_right=None) for row in table]
    options = {**form, "gold": False}
    for (a, first), (b, second) in zip(two_rounds(table, options), two_rounds(flipped, options), strict=True):
        assert first == second
        assert equal(a, b)


NAN_ROW = Row("1", "2", None, None, NAN, NAN, NAN, NAN, NAN, NAN)


@pytest.mark.parametrize("form", [{}, {"gold": False}, PAPER, {"reward": "probe_drop", "gold": False}])
@pytest.mark.parametrize(
    "table",
    [[], [Row()], [Row(teacher_right=True, student_right=False)], [NAN_ROW] * 3, [Row()] * 4],
    ids=["nothing", "one", "one known", "no log-probs", "all alike"],
)
def test_odd_public_sets(table: list[Row], form: dict[str, Any]):
    filter = make("lada", **form, **QUICK)
    state = filter.init(SEED)
    for round in (1, 2, 3):
        alike = np.ones((len(table), 3), np.float32)
        state, allocation, _ = filter.apply(state, candidates(table, round=round, embeddings=alike))
        assert len(allocation.choices) <= len(table)
        assert all(math.isfinite(score) for score in allocation.scores.values())
        assert all(np.isfinite(array).all() for name, array in state.items() if not name.endswith("losses"))


def test_ties_are_broken_by_the_rounds_seed():
    def pick(seed: int) -> list[int]:
        filter = make("lada", **PAPER, budget=4)
        table = candidates([Row()] * 20, embeddings=np.ones((20, 2), np.float32), seed=seed)
        return positions(filter.apply(filter.init(SEED), table)[1])

    assert pick(1) == pick(1)
    assert pick(1) != pick(2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"clusters": 0},
        {"hidden": 0},
        {"epochs": 0},
        {"replay": 0},
        {"learning_rate": 0.0},
        {"probe_share": 0.0},
        {"probe_share": 1.0},
        {"budget": 0},
        {"reward": "loss"},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        LadaOptions(**wrong)


def only(table: Candidates, *places: int) -> Candidates:
    """Return some of a table's candidates, in this order."""
    per_sample = ("samples", "teacher_paths", "student_paths", "student_on_teacher", "agree")
    rows = {name: tuple(getattr(table, name)[place] for place in places) for name in per_sample}
    return replace(table, **rows, embed=lambda: table.embed()[list(places)])


@pytest.mark.parametrize("options", [{}, {"reward": "probe_drop", "prior": False}, PAPER])
def test_samples_may_be_missing_in_any_round(options):
    filter = make("lada", **{"threshold": 0.3, "clusters": 2, **options, **QUICK})
    table, state = candidates(MIXED), filter.init(SEED)
    for round, places in enumerate([(0, 1, 2, 3, 4, 5, 6, 7), (9, 7, 1, 2), (), (1, 0, 9), (4,)], 1):
        part = replace(only(table, *places), round=round)
        state, allocation, _ = filter.apply(state, part)
        assert {choice.sample_id for choice in allocation.choices} <= {f"q{place}" for place in places}
        # All that were ever there are known, and among them those that were there in the last round.
        known = {0, 1, 2, 3, 4, 5, 6, 7} | ({9} if round > 1 else set())
        assert len(state["samples"]) == len(state["clusters"]) == len(state["probe"]) == len(known)
        assert len(state["seen.samples"]) == len(state["seen.losses"]) == len(places)


def test_what_was_chosen_is_rewarded_by_sample_and_not_by_place():
    """Of the samples 0 to 5 all are chosen; 1 and 4 are then missing, and of the others 2 alone is solved anew."""
    filter = make("lada", prior=False, **QUICK)
    before = candidates([Row("1", "2", True, False)] * 6)
    first, allocation, _ = filter.apply(filter.init(SEED), before)
    assert len(allocation.choices) == 6
    after = candidates([Row("1", "1", True, place == 2) for place in range(6)], round=2)
    second, _, _ = filter.apply(first, only(after, 5, 3, 2, 0))
    order = [place for place in positions(allocation) if place not in (1, 4)]
    assert second["history.rewards"].tolist() == [1.0 if place == 2 else 0.5 for place in order]
    assert np.array_equal(second["samples"], first["samples"])
    assert np.array_equal(second["clusters"], first["clusters"])


COUNT = 6
LINES = st.lists(st.lists(st.integers(0, COUNT - 1), unique=True), min_size=1, max_size=5)
"""Which of the samples are known to both in each round, in which order."""
FIRST = [0, 1, 3, 4]
"""What a first round begins with; others are met later."""


def told(round: int, place: int) -> Row:
    """Return what is known of a sample in a round: who solves it changes, and the teacher's mean says which it is."""
    solved = (round * 7 + place * 5) % 3 == 0
    return Row("1", "2", True, solved, teacher_mean=-0.1 * (place + 1), judged_mean=-0.5 - (round * place) % 4)


def over_rounds(line: list[list[int]], **options: Any) -> list[tuple[State, Allocation]]:
    """Return what a filter makes of rounds in which only some samples are known; it takes all that it may."""
    filter = make("lada", prior=False, threshold=-100.0, clusters=2, **{**QUICK, "epochs": 1}, **options)
    state, found = filter.init(SEED), []
    for round, places in enumerate(line, 1):
        table = candidates([told(round, place) for place in range(COUNT)], round=round, embeddings=two_kinds(COUNT))
        state, allocation, _ = filter.apply(state, only(table, *places))
        found.append((state, allocation))
    return found


def by_key(state: State, name: str) -> dict[int, Any]:
    return dict(zip(state["samples"].tolist(), state[name].tolist(), strict=True))


def rewarded(before: State, after: State) -> dict[int, float]:
    """Return the rewards that a round added, by the place that the teacher's mean tells."""
    start = len(before.get("history.rewards", ()))
    places = np.rint(-10 * np.log(after["history.features"][start:, 0])).astype(int) - 1
    return dict(zip(places.tolist(), after["history.rewards"][start:].tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(LINES)
def test_a_cluster_is_a_samples_own_whoever_else_is_there(line: list[list[int]]):
    earlier: dict[int, Any] = {}
    for (state, allocation), places in zip(over_rounds(line, reward="probe_drop", probe_share=0.3), line, strict=True):
        now = {key: (kind, state["probe"][row]) for row, (key, kind) in enumerate(by_key(state, "clusters").items())}
        assert len(now) == len(state["samples"])
        assert now.items() >= earlier.items()
        assert set(positions(allocation)) <= set(places)
        earlier = now


@settings(max_examples=60, deadline=None)
@given(LINES)
def test_rewards_follow_samples_through_any_rounds(line: list[list[int]]):
    """What a slow reference with a dictionary by sample says: who was there in both rounds has its reward."""
    before: State = {}
    for round, (state, _) in enumerate(over_rounds(line), 1):
        both = set(line[round - 1]) & set(line[round - 2]) if round > 1 else set()
        gains = {p: (1 + bool(told(round, p).student_right) - bool(told(round - 1, p).student_right)) / 2 for p in both}
        assert rewarded(before, state) == gains
        before = state


@settings(max_examples=60, deadline=None)
@given(LINES, st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(line: list[list[int]], random: Any):
    line = [FIRST, *line]  # where clustering begins, in one order
    other = [FIRST, *(random.sample(places, len(places)) for places in line[1:])]
    before: tuple[State, State] = ({}, {})
    for (a, chosen_a), (b, chosen_b) in zip(over_rounds(line), over_rounds(other), strict=True):
        assert by_key(a, "clusters") == by_key(b, "clusters")
        assert rewarded(before[0], a) == rewarded(before[1], b)
        assert set(positions(chosen_a)) == set(positions(chosen_b))
        before = (a, b)


@settings(max_examples=60, deadline=None)
@given(LINES, st.integers(0, COUNT - 1), st.integers(1, 4))
def test_a_path_that_is_left_out_changes_nothing_for_others(line: list[list[int]], lost: int, when: int):
    line = [FIRST, *line]
    other = [[p for p in places if (round, p) != (when, lost)] for round, places in enumerate(line)]
    before: tuple[State, State] = ({}, {})
    for (a, _), (b, _) in zip(over_rounds(line), over_rounds(other), strict=True):
        clusters_a, clusters_b = by_key(a, "clusters"), by_key(b, "clusters")
        assert all(clusters_a[key] == clusters_b[key] for key in clusters_b)
        gains_a, gains_b = rewarded(before[0], a), rewarded(before[1], b)
        assert {p: gains_a[p] for p in gains_a if p != lost} == {p: gains_b[p] for p in gains_b if p != lost}
        before = (a, b)


@settings(max_examples=40, deadline=None)
@given(LINES)
def test_drops_on_probes_are_of_those_that_were_there_in_both_rounds(line: list[list[int]]):
    before: State = {}
    for round, (state, _) in enumerate(over_rounds(line, reward="probe_drop", probe_share=0.5), 1):
        keys, cluster, probe = state["samples"].tolist(), by_key(state, "clusters"), by_key(state, "probe")
        of = {p: key for p in line[round - 1] if (key := seed_of(f"q{p}")) in keys}
        both = [p for p in line[round - 1] if round > 1 and p in line[round - 2]]
        expected = {}
        for place in both:
            if probe[of[place]]:
                continue  # held out, so never chosen
            held = [p for p in both if probe[of[p]] and cluster[of[p]] == cluster[of[place]]]
            losses = [np.mean([-told(r, p).judged_mean for p in held]) for r in (round - 1, round)] if held else [1, 1]
            expected[place] = sigmoid(float((losses[0] - losses[1]) / max(losses))) if held else 0.5
        assert rewarded(before, state) == pytest.approx(expected)
        before = state


def test_the_papers_reward_counts_what_was_chosen_wherever_it_is_now():
    """S is of the samples and weights of its own round: that one of them is missing in the next changes nothing."""
    line = [[0, 1, 2], [0, 1, 2], [1, 2]]
    *_, (whole, _), (state, _) = over_rounds(line, reward="paper", gold=False)
    losses = [[-told(round, place).judged_mean for place in range(3)] for round in (1, 2)]
    sums = [sum(math.exp(loss) for loss in each) for each in losses]
    assert not len(whole["history.rewards"])
    assert state["history.rewards"].tolist() == pytest.approx([sigmoid((sums[0] - sums[1]) / max(sums))] * 3)


def test_a_state_by_places_is_refused():
    state = {"seed": np.array(SEED), "clusters": np.zeros(12, np.int64), "probe": np.zeros(12, bool)}
    with pytest.raises(InputError, match=r"allocator lada: an earlier version .* or begin the run anew"):
        make("lada", **QUICK).apply(state, candidates(MIXED))
