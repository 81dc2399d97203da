"""Swing: temperature and noise by position, on distributions that can be worked out by hand."""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import make_party
from hypothesis import given
from hypothesis import strategies as st

from lada.codecs.quantise import LEAST
from lada.config import make_config
from lada.core.errors import InputError
from lada.core.terms import Knowledge, Likelihood, Path, Sample, SparseLogProbs, TokenScores
from lada.policies.base import POLICIES, Owner
from lada.policies.swing import Swing, SwingOptions
from lada.privacy.sensitivity import by_spans, dealt, loss_gap, matches, rare_words
from lada.rounds.knowledge import LIKELIHOODS, SOFT, receive_knowledge, send_knowledge, write_knowledge

LOGITS = np.array([3.0, 1.0, 0.0])
"""Of three tokens: probabilities 0.843795, 0.114195 and 0.042010."""


def log_softmax(z: np.ndarray) -> np.ndarray:
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def scores(*rows: np.ndarray, tokens: list[int] | None = None, ids: list[int] | None = None) -> TokenScores:
    """Return one-byte tokens with these log-probs of the same tokens at each position, by default of 0, 1, 2 …"""
    n, k = len(rows), len(rows[0])
    named = np.tile(np.array(ids or range(k), np.int32), (n, 1))
    spans = np.stack([np.arange(n), np.arange(1, n + 1)], 1).astype(np.int32)
    own = np.array(tokens or [named[0, 0]] * n, np.int32)
    return TokenScores(own, spans, SparseLogProbs(named, np.array(rows, np.float32)))


def swing(**options: Any) -> Any:
    return Swing(SwingOptions(**{"seeded": True, **options}))


def swung(pi: list[float], *, size: int = 3, k: int = 3, seed: int = 0, **options: Any) -> SparseLogProbs:
    rows = [log_softmax(LOGITS)[:k]] * len(pi)
    return swing(**options).swung(scores(*rows), np.array(pi), size, np.random.default_rng(seed))


def test_the_temperature_rises_with_the_sensitivity():
    top = swung([0.0, 0.5, 1.0], most_temperature=3.0, noise="none")
    assert np.exp(top.log_probs) == pytest.approx(
        np.array([[0.843795, 0.114195, 0.042010], [0.628532, 0.231224, 0.140244], [0.531548, 0.272906, 0.195546]]),
        abs=1e-5,
    )


def test_nothing_changes_where_nothing_is_sensitive_whatever_the_seed():
    plain = scores(log_softmax(LOGITS), log_softmax(LOGITS)).top
    for seed in range(5):
        top = swung([0.0, 0.0], seed=seed, scale=1.0)
        assert np.array_equal(top.ids, plain.ids)
        assert np.array_equal(top.log_probs, plain.log_probs)


def test_an_endless_temperature_gives_the_uniform_distribution():
    (row,) = np.exp(swung([1.0], most_temperature=1000.0, noise="none").log_probs)
    assert row == pytest.approx([1 / 3] * 3, abs=2e-3)


def test_unnamed_tokens_share_the_tail_evenly():
    # Two tokens of four are named; the tail, 0.042010, is 0.021005 for each of the others. At T = 2, by square roots:
    roots = np.sqrt([0.843795, 0.114195, 0.021005, 0.021005])
    (row,) = np.exp(swung([0.5], size=4, k=2, most_temperature=3.0, noise="none").log_probs)
    assert row == pytest.approx(roots[:2] / roots.sum(), abs=1e-5)


def test_noise_on_probabilities_is_the_slow_reference():
    rng = np.random.default_rng(4)
    wanted = np.maximum(np.exp(log_softmax(LOGITS / 3)) + rng.laplace(0.0, 0.2, 3), 0.0)
    (row,) = np.exp(swung([1.0], seed=4, most_temperature=3.0, scale=0.2).log_probs)
    assert row == pytest.approx(wanted / wanted.sum(), abs=1e-6)
    rng = np.random.default_rng(4)
    wanted = log_softmax(LOGITS / 2 + rng.normal(0.0, 0.1, 3))  # half as sensitive, half the noise
    (row,) = swung([0.5], seed=4, most_temperature=3.0, scale=0.2, noise="gaussian", where="logits").log_probs
    assert row == pytest.approx(wanted, abs=1e-6)


def test_noise_changes_which_tokens_are_named_but_never_drops_the_texts_own():
    named = set()
    for seed in range(20):
        top = swung([1.0], size=50, k=2, seed=seed, scale=1.0)
        assert 0 in top.ids[0]
        named |= set(top.ids[0].tolist())
    assert len(named) > 10


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.floats(0, 100),
    st.sampled_from(["none", "laplace", "gaussian"]),
    st.sampled_from(["probabilities", "logits"]),
    st.integers(0, 99),
    st.floats(1, 1000),
)
def test_what_leaves_is_a_distribution(
    pi: list[float], scale: float, noise: str, where: str, seed: int, temperature: float
):
    options = {"scale": scale, "noise": noise, "where": where, "most_temperature": temperature}
    top = swung(pi, size=9, k=3, seed=seed, **options)
    assert (np.diff(top.ids, axis=1) > 0).all()
    assert ((top.log_probs <= 0) & (top.log_probs >= LEAST)).all()
    assert (np.exp(top.log_probs, dtype=np.float64).sum(1) < 1 + 1e-6).all()
    assert (top.ids == 0).any(1).all()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"most_temperature": 1.5, "temperature": 2.0}, "below temperature"),
        ({"score": "patterns"}, "expected pii or patterns"),
        ({"score": "patterns", "patterns": ("(",)}, "no regular expression"),
        ({"scale": float("nan")}, "finite"),
        ({"scale": -1.0}, "greater than or equal to 0"),
        ({"temperature": 0.5}, "greater than or equal to 1"),
        ({"words": 0}, "greater than or equal to 1"),
        ({"full_gap": 0.0}, "greater than or equal"),
    ],
)
def test_a_wrong_option_is_refused(wrong: dict[str, Any], why: str):
    with pytest.raises(ValueError, match=why):
        SwingOptions(**wrong)


# What is sensitive.

BYTES = tuple(bytes([byte]) for byte in range(256))


def spelled(text: str, likeliest: str) -> TokenScores:
    """Return a text of one-byte tokens, at each of which another text's byte is likeliest."""
    own, top = (np.frombuffer(each.encode(), np.uint8).astype(np.int32) for each in (text, likeliest))
    ids = np.sort(np.stack([own, np.where(top == own, 0, top)], 1), 1).astype(np.int32)
    log_probs = np.where(ids == top[:, None], np.log(0.9), np.log(0.05)).astype(np.float32)
    spans = np.stack([np.arange(len(own)), np.arange(1, len(own) + 1)], 1).astype(np.int32)
    return TokenScores(own, spans, SparseLogProbs(ids, log_probs))


def test_patterns_and_personal_data_are_found_in_the_text_and_in_what_is_likeliest():
    spans = matches(("email",), (r"\d+",))
    text, model = "ask ä1 or b@c.de", "ask ä1 of 47@c.x"
    pi = by_spans(text, spelled(text, model), BYTES, spans)
    marked = bytearray(b"." * len(text.encode()))
    marked[6:7] = b"x"  # the digit, behind a letter of two bytes
    marked[11:17] = b"xxxxxx"  # the address; of the likeliest text only 47, which is within it
    assert [bool(each) for each in pi] == [each == ord("x") for each in marked]


def test_a_pattern_that_takes_too_long_makes_a_text_sensitive_throughout():
    def slow(text: str) -> Any:
        raise TimeoutError

    assert by_spans("abc", spelled("abc", "abc"), BYTES, slow).tolist() == [1.0, 1.0, 1.0]


def test_words_that_only_private_samples_have_count_by_how_many_have_them():
    spans = rare_words(["The code is 4711", "the code is red", "THE code was blue"], ["the code of conduct"], 2)
    # "the code" is public; two of the private texts have "code is", one has "is 4711".
    assert list(spans("so the code is 4711 now")) == [(7, 14, 0.5), (12, 19, 1.0)]
    assert list(spans("")) == []


def test_the_loss_gap_is_the_divergence_from_the_model_without_the_data():
    now, before = np.array([[0.7, 0.2], [0.5, 0.4]]), np.array([[0.5, 0.3], [0.5, 0.4]])
    ids = np.array([[1, 2], [1, 2]], np.int32)
    told = SparseLogProbs(ids, np.log(now).astype(np.float32))
    gap = 0.7 * np.log(0.7 / 0.5) + 0.2 * np.log(0.2 / 0.3)
    assert loss_gap(told, SparseLogProbs(ids, np.log(before).astype(np.float32)), 2.0) == pytest.approx([gap / 2, 0.0])
    assert loss_gap(told, SparseLogProbs(ids, np.log(before).astype(np.float32)), 0.01).tolist() == [1.0, 0.0]
    # Token 2 is not named by the earlier model; the least that it names, 0.3 of token 9, bounds its probability.
    other = SparseLogProbs(np.array([[1, 9], [1, 2]], np.int32), np.log(before).astype(np.float32))
    assert loss_gap(told, other, 2.0) == pytest.approx([gap / 2, 0.0])


def owner(notes: list[str], before: Any = None) -> Owner:
    return Owner(
        name="a",
        seed=1,
        judge=lambda texts: [],
        verify=lambda id, text: (None, None),
        note=notes.append,
        private=(Sample("x", "the code is", "4711"),),
        words=BYTES,
        score_before=before or (lambda texts, k: [None] * len(texts)),
    )


def knowledge(**texts: str) -> Knowledge:
    paths = [Path(id, "a", text, None, None, Likelihood(-1.0, -1.0, 1, len(text))) for id, text in texts.items()]
    return Knowledge("a", 1, tuple(paths))


def test_only_sensitive_positions_change_and_they_are_counted():
    notes: list[str] = []
    text = "code is 4711"
    given = {"s": spelled(text, text), "t": spelled("good day", "good day")}
    policy = swing(score="patterns", patterns=(r"\d+",))
    _, after = policy.release_scores({}, knowledge(s=text, t="good day"), given, owner(notes))
    changed = (after["s"].top.log_probs != given["s"].top.log_probs).any(1)
    assert changed.tolist() == [False] * 8 + [True] * 4
    assert np.array_equal(after["t"].top.log_probs, given["t"].top.log_probs)
    assert notes == ["blunted 4 of 20 positions of its soft targets"]


def test_a_text_that_the_model_without_the_data_cannot_trace_is_sensitive_throughout():
    given = {"s": spelled("ab", "ab")}
    _, after = swing(score="gap").release_scores({}, knowledge(s="ab"), given, owner([]))
    assert (after["s"].top.log_probs != given["s"].top.log_probs).any(1).all()


def test_no_scores_are_no_work():
    notes: list[str] = []
    assert swing().release_scores({}, knowledge(), {}, owner(notes)) == ({}, {})
    assert notes == []


# In a party.


def test_the_likelihood_that_leaves_is_that_of_the_released_scores(tmp_path: FilePath):
    party = make_party("a", {0, 1}, tmp_path, objective="soft_targets")
    server = make_party("llm", set(), tmp_path, objective="soft_targets")

    def sent() -> Any:
        known = write_knowledge(party, 1, "answer", "labels")
        return receive_knowledge(server, dict(send_knowledge(party, known, "labels")), "a", 1, "labels")

    plain = sent()
    policy = POLICIES.make("swing", {"score": "patterns", "patterns": [r"gold0"], "seeded": True})
    party.policies = (("swing", policy),)
    blunt = sent()
    for id, path in blunt.knowledge.by_id().items():
        told, own = path.likelihood, blunt.scores[id].own()
        before = plain.knowledge.by_id()[id].likelihood
        if "gold0" in path.text:
            assert told.total == pytest.approx(float(own.sum()), rel=1e-2)  # the scores are quantised on the way
            assert told.total != before.total
        else:
            assert told == before
    assert any("blunted" in notice for notice in party.report.notices)


def config(objective: str, **client: Any) -> Any:
    model = {"model": "zoo:slm-llama"}
    clients = [{"name": "a", "model": model, **client}]
    return make_config({"server": {"model": model}, "clients": clients, "objective": objective})


def test_it_is_refused_where_no_soft_targets_are_asked_for():
    chosen = config("soft_targets", policies=[{"name": "swing", "options": {"score": "rarity"}}])
    assert chosen.held_back() == ("clients.a.policies.swing",)
    with pytest.raises(
        InputError, match=r"clients.a.policies.swing: it changes soft targets, but objective 'sft' asks"
    ):
        config("sft", policies=["swing"])


def test_kinds_of_messages_stay_the_same(tmp_path: FilePath):
    party = make_party("a", {0, 1}, tmp_path, objective="soft_targets")
    party.policies = (("swing", POLICIES.make("swing", {"score": "rarity"})),)
    payload = send_knowledge(party, write_knowledge(party, 2, "answer", "labels"), "labels")
    assert set(payload) == {LIKELIHOODS, SOFT}


# What a hostile server may try.


def test_asking_for_one_token_gets_no_more_exact_an_answer():
    # The own token has 0.843795; the two others share the tail, 0.078103 each. At T = 2, by square roots:
    (row,) = np.exp(swung([0.5], k=1, most_temperature=3.0, noise="none").log_probs)
    assert row == pytest.approx([0.918583 / (0.918583 + 2 * 0.279468)], abs=1e-5)


def test_a_large_vocabulary_takes_no_more_than_a_row_of_it():
    top = swung([1.0, 0.0], size=200_000, k=3, scale=1e-3)
    assert (top.ids[0] < 200_000).all()
    assert top.ids[0].max() > 2  # noise brought in others
    assert np.array_equal(top.ids[1], [0, 1, 2])


def test_the_same_question_in_another_round_or_of_another_client_gets_other_noise():
    given, text = {"s": spelled("4711", "4711")}, "4711"
    policy = swing(score="patterns", patterns=(r"\d+",), scale=1.0)
    told = set()
    for round, name in ((1, "a"), (2, "a"), (1, "b")):
        known = Knowledge("a", round, knowledge(s=text).paths)
        who = replace(owner([]), name=name)
        told.add(policy.release_scores({}, known, given, who)[1]["s"].top.log_probs.tobytes())
        assert policy.release_scores({}, known, given, who)[1]["s"].top.log_probs.tobytes() in told
    assert len(told) == 3


def test_unseeded_noise_cannot_be_repeated():
    given, known = {"s": spelled("4711", "4711")}, knowledge(s="4711")
    policy = swing(score="patterns", patterns=(r"\d+",), scale=1.0, seeded=False)
    told = {policy.release_scores({}, known, given, owner([]))[1]["s"].top.log_probs.tobytes() for _ in range(3)}
    assert len(told) == 3


# The control.


def bluntness(shuffled: bool, seed: int = 1) -> dict[str, list[int]]:
    """Return how blunt a message's positions leave: one of 3 positions is fully sensitive in `s`, none of 40 in `t`."""
    given = {"t": spelled("a" * 40, "a" * 40), "s": spelled("a1a", "a1a")}
    policy = swing(score="patterns", patterns=(r"\d",), noise="none", shuffled=shuffled)
    said = replace(owner([]), seed=seed)
    _, after = policy.release_scores({}, knowledge(t="a" * 40, s="a1a"), given, said)
    return {id: [int(row.max() < np.log(0.8)) for row in each.top.log_probs] for id, each in sorted(after.items())}


def test_shuffled_deals_the_same_sensitivities_to_other_positions():
    assert bluntness(shuffled=False) == {"s": [0, 1, 0], "t": [0] * 40}
    dealt = [bluntness(shuffled=True, seed=seed) for seed in range(4)]
    assert all(sum(map(sum, each.values())) == 1 for each in dealt)
    assert any(sum(each["t"]) for each in dealt)  # positions of all texts are one deck
    assert len({tuple(each["t"]) for each in dealt}) > 1
    assert dealt == [bluntness(shuffled=True, seed=seed) for seed in range(4)]


@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from([0.0, 0.25, 1.0]), max_size=5)),
    st.integers(0, 99),
)
def test_what_is_dealt_is_what_was_there(values: dict[str, list[float]], seed: int):
    found = dealt({name: np.array(each) for name, each in values.items()}, np.random.default_rng(seed))
    assert {name: len(each) for name, each in found.items()} == {name: len(each) for name, each in values.items()}
    assert sorted(x for each in found.values() for x in each.tolist()) == sorted(
        x for each in values.values() for x in each
    )
    other = dealt({name: np.array(values[name]) for name in reversed(values)}, np.random.default_rng(seed))
    assert {name: each.tolist() for name, each in found.items()} == {n: each.tolist() for n, each in other.items()}


def test_only_the_control_has_its_key():
    assert "shuffled" not in SwingOptions().model_dump()
    assert SwingOptions(shuffled=True).model_dump()["shuffled"] is True
