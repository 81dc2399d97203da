"""KnFu: weights by hand and against the tables of the paper's form, and a federation in which each learns its own."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import federation, make
from distributions import rows
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.config import make_config
from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.errors import InputError
from lada.core.terms import SparseLogProbs, TokenScores
from lada.fusers.base import FUSERS
from lada.fusers.knfu import KnFuOptions, estimate, kl, weights
from lada.objectives.base import OBJECTIVES
from lada.rounds.consensus import consensus

THREE = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])


def both(first: float) -> SparseLogProbs:
    return rows({0: first, 1: 1 - first})


def test_the_weights_of_three_clients_by_kl():
    assert weights(THREE, 10.0, "kl") == pytest.approx(
        np.array([[0.552891, 0.44548, 0.00163], [0.43843, 0.549509, 0.012061], [0.004607, 0.033806, 0.961588]]),
        abs=1e-5,
    )


def test_the_weights_of_three_clients_by_js():
    assert weights(THREE, 10.0, "js") == pytest.approx(
        np.array([[0.45204, 0.427812, 0.120147], [0.399617, 0.422248, 0.178136], [0.157489, 0.249976, 0.592535]]),
        abs=1e-5,
    )


def test_the_mixture_of_the_first_client():
    members = [both(0.9), both(0.5), both(0.1)]
    share = weights(THREE, 10.0, "kl")[0].tolist()
    found = consensus(members, np.array([0]), vocabulary_size=2, k=2, average="probabilities", weights=share)
    assert np.exp(found.log_probs[0]) == pytest.approx([0.720504, 0.279496], abs=1e-5)


def test_weights_of_logits_by_hand():
    # Logits (ln 4, 0) and (0, 0) with weights 1 to 3: the mean is (ln 4 / 4, 0), so probabilities are as sqrt 2 to 1.
    found = consensus(
        [both(0.8), both(0.5)], np.array([0]), vocabulary_size=2, k=2, average="logits", weights=[0.5, 1.5]
    )
    assert np.exp(found.log_probs[0]) == pytest.approx([2**0.5 / (1 + 2**0.5), 1 / (1 + 2**0.5)], abs=1e-6)


def distributions(members: int) -> st.SearchStrategy[np.ndarray]:
    values = st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any)
    return st.lists(values, min_size=members, max_size=members).map(
        lambda found: np.array(found, float) / np.sum(found, axis=1, keepdims=True)
    )


@given(distributions(4), st.sampled_from(["kl", "js"]), st.floats(0, 50), st.permutations(range(4)))
def test_rows_are_shares_and_names_do_not_matter(found: np.ndarray, distance: Any, beta: float, order: list[int]):
    each = weights(found, beta, distance)
    assert each.sum(1) == pytest.approx(np.ones(4))
    assert (each >= 0).all()
    assert (np.diag(each) == each.max(1)).all()  # nobody is nearer to a party than itself
    assert weights(found[order], beta, distance) == pytest.approx(each[order][:, order])
    assert weights(found, 0.0, distance) == pytest.approx(np.full((4, 4), 0.25))
    assert weights(np.tile(found[:1], (4, 1)), beta, distance) == pytest.approx(np.full((4, 4), 0.25))


def test_a_large_beta_leaves_each_with_its_own_and_zeros_rule_out():
    assert weights(THREE, 1e6, "kl") == pytest.approx(np.eye(3))
    assert weights(np.array([[0.5, 0.5], [1.0, 0.0]]), 0.5, "kl") == pytest.approx(
        np.array([[1.0, 0.0], [np.exp(-0.5 * np.log(2)) / (1 + np.exp(-0.5 * np.log(2))), 0.585786]]), abs=1e-6
    )
    assert kl(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == np.inf


def test_estimates_by_hand():
    # Of 4 tokens the first row leaves .2 to two others, .1 each, and the second .6 to three, .2 each.
    told = {"x": rows({0: 0.5, 2: 0.3}), "y": rows({1: 0.4})}
    assert estimate(told, 4, "predictions") == pytest.approx(np.array([0.7, 0.5, 0.5, 0.3]) / 2, abs=1e-6)
    assert estimate(told, 4, "counts") == pytest.approx([0.5, 0.5, 0.0, 0.0])
    assert estimate({"x": both(0.75)}, 2, "predictions") == pytest.approx([0.75, 0.25], abs=1e-6)
    empty = SparseLogProbs(np.zeros((2, 1), np.int32), np.full((2, 1), -np.inf, np.float32))
    assert estimate({"x": empty}, 4, "counts") is None
    assert estimate({}, 4, "predictions") is None
    assert estimate({"x": empty, "y": both(0.75)}, 2, "predictions") == pytest.approx([0.75, 0.25], abs=1e-6)


def test_advice_goes_to_whoever_is_alone_and_the_silent_are_named():
    fuser = FUSERS.make("knfu", {})
    members = {"b": {"x": both(0.6)}, "c": {"x": both(0.2)}, "a": {"x": both(0.7)}, "d": {}}
    state, found = fuser.weigh({}, members, 2)
    assert not state
    assert list(found.of) == ["a", "b", "c"]
    assert found.of["c"] == pytest.approx({"a": 0.004607, "b": 0.033806, "c": 0.961588}, abs=1e-5)
    assert found.notices == (
        "d predicted nothing, and learns the plain mean of the others",
        "of 3 mixtures, the receiver's own predictions make up 55.0% to 96.2%",
        "c may do better alone: its own predictions make up 96.2% of what it learns",
    )
    _, single = fuser.weigh({}, {"a": {"x": both(0.7)}}, 2)
    assert single.of == {"a": {"a": 1.0}}
    assert len(single.notices) == 1  # there is nobody else to do without
    assert fuser.weigh({}, {}, 2)[1].of == {}


NONE = {"private": 0.0, "paths": 0.0, "general": 0.0, "least": 0}
OPTIONS = {"client_replay": NONE, "server_replay": NONE, "average": "probabilities"}


def says(learner: Any, own: float) -> None:
    """Let a learner give each own token this probability, and the rest in equal parts to two other tokens."""

    def log_probs(pairs: list[tuple[str, str]], k: int, **_: Any) -> list[TokenScores | None]:
        scores: list[TokenScores | None] = type(learner).log_probs(learner, pairs, k)
        for each in scores:
            if each is not None:
                mine = each.top.ids == each.tokens[:, None]
                each.top.log_probs[:] = np.log(np.where(mine, own, (0.999 - own) / (k - 1)))
        return scores

    learner.log_probs = log_probs


def learnt(folder: FilePath, fuser: str, **options: Any) -> tuple[dict[str, float], Any]:
    """Return what each party learns to give to the first own token, and the server."""
    objective = make(OBJECTIVES, "soft_targets", k=3, form="forward_kl", label_weight=0.0)
    parties = {"llm": set(), "a": set(), "b": set()}
    both = federation(folder, "fedmd", parties, OPTIONS, allocator="all", objective=objective)
    both.server.fuser = (fuser, FUSERS.make(fuser, options))
    for party, own in (("llm", 0.1), ("a", 0.3), ("b", 0.8)):
        says((both.server if party == "llm" else both.clients[party]).learner, own)
    both.run(1)
    found = {}
    for name, place in (("llm", 0), ("a", 1), ("b", 1)):
        lesson = both.studies(name)[place].lessons[0]
        assert lesson.soft is not None
        own = lesson.soft.ids[0] == lesson.chosen.encode()[0]
        found[name] = float(np.exp(lesson.soft.log_probs[0][own][0]))
    return found, both


def test_each_party_learns_a_mixture_of_its_own(tmp_path: FilePath):
    alike, _ = learnt(tmp_path / "alike", "knfu", beta=0.0)
    plain, _ = learnt(tmp_path / "plain", "least_loss")
    assert alike == pytest.approx(plain, rel=0.01)
    assert plain == pytest.approx(dict.fromkeys(plain, 0.4), rel=0.07)
    alone, both = learnt(tmp_path / "alone", "knfu", beta=1e6)
    assert alone == pytest.approx({"llm": 0.1, "a": 0.3, "b": 0.8}, rel=0.07)  # sent in steps of 1/16 nat, twice
    notices = both.server.report.notices
    assert "round 1: a may do better alone: its own predictions make up 100.0% of what it learns" in notices
    assert "round 1: of 3 mixtures, the receiver's own predictions make up 100.0% to 100.0%" in notices


def test_a_host_that_averages_no_distributions_is_refused():
    models = {
        "server": {"model": {"model": "zoo:llm-world-0"}},
        "clients": [{"name": "one", "model": {"model": "zoo:slm-llama"}}],
        "plugin": "none",
        "fuser": "knfu",
    }
    assert make_config({**models, "host": "fedmd"}).choice(FUSERS).options["beta"] == 10.0
    with pytest.raises(InputError, match="'knfu' weighs distributions, but host 'fedmkt' does not average any"):
        make_config({**models, "host": "fedmkt"})


@pytest.mark.parametrize("wrong", [{"beta": -1.0}, {"alone": 0.0}, {"distance": "l2"}, {"estimate": "labels"}])
def test_options_have_bounds(wrong: dict[str, Any]):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        KnFuOptions(**wrong)


# The control.

MEMBERS = {"a": {"x": both(0.7)}, "b": {"x": both(0.6)}, "c": {"x": both(0.2)}}


def deals(count: int, state: Any = None) -> tuple[list[dict[str, dict[str, float]]], Any]:
    """Return the weights of so many rounds with the control, and the last state."""
    fuser = FUSERS.make("knfu", {"shuffled": True})
    state, found = fuser.init(5) if state is None else state, []
    for _ in range(count):
        state, dealt = fuser.weigh(state, MEMBERS, 2)
        found.append(dealt.of)
        assert not any("alone" in notice for notice in dealt.notices)  # it would be no advice
    return found, state


def test_shuffled_deals_a_receivers_weights_to_random_members():
    _, plain = FUSERS.make("knfu", {}).weigh({}, MEMBERS, 2)
    found, _ = deals(8)
    for each in found:
        for receiver, row in each.items():
            assert list(row) == ["a", "b", "c"]
            assert sorted(row.values()) == sorted(plain.of[receiver].values())
    assert any(each != plain.of for each in found)
    assert len({tuple(each["c"].values()) for each in found}) > 2  # other places in other rounds
    tops = [{receiver: max(row, key=row.__getitem__) for receiver, row in each.items()} for each in found]
    assert any(top["a"] == top["b"] for top in tops)  # each receiver has a deal of its own
    assert deals(8)[0] == found


def test_shuffled_goes_on_from_a_kept_state():
    whole, (first, state) = deals(5)[0], deals(2)
    assert first + deals(3, bytes_to_arrays(arrays_to_bytes(state)))[0] == whole


def test_only_the_control_has_its_key_and_its_seed():
    assert "shuffled" not in KnFuOptions().model_dump()
    assert KnFuOptions(shuffled=True).model_dump()["shuffled"] is True
    assert FUSERS.make("knfu", {}).init(5) == {}
