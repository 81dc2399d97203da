"""What parties tell and hear: labels, soft targets, vocabularies; what is amiss is refused, or left out and counted."""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import BYTES, PUBLIC, Federation, federation, make, make_party, task

from lada.codecs import paths, soft_targets, vocabulary
from lada.core.errors import CodecError, FederationError, InputError
from lada.core.limits import Limits
from lada.core.terms import Knowledge, Lesson, Sample, SparseLogProbs, TokenScores, Vocabulary
from lada.objectives.base import OBJECTIVES
from lada.rounds.checks import check_parts
from lada.rounds.knowledge import (
    PATHS,
    SOFT,
    VOCABULARY,
    encode,
    keep_own_knowledge,
    own_knowledge,
    receive_knowledge,
    send_knowledge,
    sound_scores,
    write_knowledge,
)
from lada.rounds.party import Party
from lada.rounds.soft import with_soft_targets
from lada.rounds.steps import write_paths

BARE = {"knowledge": "labels", "client_replay": {"private": 0.0, "paths": 0.0, "general": 0.0}}
BARE["server_replay"] = BARE["client_replay"]
GOLD = {f"p{i}": f"answer gold{i}" for i in range(5)}


def soft(name: str, folder: FilePath, **more: Any) -> Party:
    return make_party(name, set(), folder, objective=make(OBJECTIVES, "soft_targets", k=3), **more)


def bare(folder: FilePath, sure: dict[str, dict[int, float]]) -> Federation:
    """Return a federation on labels; `sure` are the log-probs that each party gives to the gold texts."""
    knows: dict[str, set[int]] = {"llm": set(), "a": set(), "b": set()}
    both = federation(
        folder, "fedmkt", knows, BARE, allocator="dual_min_ce", objective=make(OBJECTIVES, "soft_targets", k=3)
    )
    for party in (both.server, *both.clients.values()):
        learner: Any = party.learner
        learner.judgements = {GOLD[f"p{i}"]: value for i, value in sure[party.name].items()}
    return both


def test_paths_are_heard_as_they_were_told(tmp_path: FilePath):
    llm, a = make_party("llm", {0}, tmp_path), make_party("a", {0}, tmp_path)
    told = write_knowledge(a, 2, "answer", "paths")
    for teacher in ("a", None):
        assert receive_knowledge(llm, send_knowledge(a, told, "paths"), teacher, 2, "paths").knowledge == told
    for teacher, round in (("b", 2), ("a", 3)):
        with pytest.raises(FederationError, match=rf"expected those of '{teacher}' in round {round}"):
            receive_knowledge(llm, send_knowledge(a, told, "paths"), teacher, round, "paths")
    strange = Knowledge("a", 2, (*told.paths[1:], replace(told.paths[0], sample_id="p9")))
    with pytest.raises(CodecError):
        receive_knowledge(llm, send_knowledge(a, strange, "paths"), "a", 2, "paths")


def test_samples_that_a_teacher_says_nothing_of_are_counted(tmp_path: FilePath):
    llm, a = make_party("llm", {0}, tmp_path), make_party("a", {0}, tmp_path)
    told = write_paths(a, PUBLIC, 1, "answer")
    received = receive_knowledge(llm, send_knowledge(a, replace(told, paths=told.paths[2:]), "paths"), "a", 1, "paths")
    assert [path.sample_id for path in received.knowledge.paths] == ["p2", "p3", "p4"]
    assert llm.report.notices == ("round 1: a sent nothing about 2 public samples; llm continues without them",)


def test_paths_whose_log_probs_are_not_finite_are_left_out_and_counted(tmp_path: FilePath):
    a = make_party("a", {0}, tmp_path, sure={1: float("nan"), 3: float("-inf")})
    assert [path.sample_id for path in write_knowledge(a, 1, "answer", "paths").paths] == ["p0", "p2", "p4"]
    assert a.report.notices == (
        "round 1: 2 of 5 paths of a are left out, since their log-probs are not finite; the first: sample 'p1'",
    )


def test_of_labels_only_the_likelihoods_travel(tmp_path: FilePath):
    llm, a = make_party("llm", set(), tmp_path), make_party("a", set(), tmp_path)
    told = send_knowledge(a, write_knowledge(a, 1, "answer", "labels"), "labels")
    assert set(told) == {"likelihoods"}
    received = receive_knowledge(llm, told, "a", 1, "labels").knowledge
    assert {path.sample_id: path.text for path in received.paths} == GOLD
    assert all(path.writer == "a" and path.right for path in received.paths)
    assert received.paths[0].likelihood.total == -2.0


def test_labels_are_judged_where_there_are_gold_answers(tmp_path: FilePath):
    some = make_party("a", set(), tmp_path, data=task((Sample("p0", "?"), *PUBLIC[1:])))
    assert [path.sample_id for path in write_knowledge(some, 1, "answer", "labels").paths] == ["p1", "p2", "p3", "p4"]


def test_the_vocabulary_is_sent_once_and_kept(tmp_path: FilePath):
    llm, a = soft("llm", tmp_path), soft("a", tmp_path)
    first, second = (send_knowledge(a, write_knowledge(a, round, "answer", "labels"), "labels") for round in (1, 2))
    assert set(first) == {"likelihoods", "soft_targets", "vocabulary"}
    assert set(second) == {"likelihoods", "soft_targets"}
    offer = receive_knowledge(llm, second, "a", 2, "labels")
    assert (len(offer.knowledge.paths), offer.scores, offer.vocabulary) == (len(GOLD), {}, None)
    assert "soft targets of a are left out, since llm never received its vocabulary" in llm.report.notices[-1]
    assert receive_knowledge(llm, first, "a", 1, "labels").vocabulary == a.learner.vocabulary()
    assert set(receive_knowledge(llm, second, "a", 2, "labels").scores) == set(GOLD)
    assert vocabulary.decode(llm.memory["vocabulary a"])[1] == 256


def test_soft_targets_with_a_fault_are_left_out_and_counted(tmp_path: FilePath):
    llm, a = soft("llm", tmp_path), soft("a", tmp_path)
    learner: Any = a.learner
    learner.broken = frozenset({GOLD["p1"], GOLD["p3"]})
    told = send_knowledge(a, write_knowledge(a, 1, "answer", "labels"), "labels")
    assert set(receive_knowledge(llm, told, "a", 1, "labels").scores) == {"p0", "p2", "p4"}
    (notice,) = a.report.notices
    assert notice.startswith("round 1: 2 of 5 soft targets of a are left out; the first: sample 'p1', position 1: ")


def test_a_token_that_no_vocabulary_has_is_named(tmp_path: FilePath):
    llm, a = make_party("llm", set(), tmp_path), soft("a", tmp_path)
    learner: Any = a.learner
    scores = dict(zip(GOLD, learner.log_probs([("?", text) for text in GOLD.values()], 3), strict=True))
    scores["p2"].top.ids[1, 2] = 999
    texts = replace(write_knowledge(a, 1, "answer", "labels"), round=4)
    assert set(sound_scores(llm, texts, scores, 257)) == {"p0", "p1", "p3", "p4"}
    (notice,) = llm.report.notices
    assert notice.startswith("round 4: 1 of 5 soft targets of a is left out; the first: sample 'p2', position 1: ")
    assert "999" in notice


def test_offsets_beyond_the_text_are_named(tmp_path: FilePath):
    llm, a = make_party("llm", set(), tmp_path), soft("a", tmp_path)
    learner: Any = a.learner
    scores = dict(zip(GOLD, learner.log_probs([("?", text) for text in GOLD.values()], 3), strict=True))
    size = len(GOLD["p2"].encode())
    assert scores["p2"].offsets[-1].tolist() == [size, size + 1]  # end-of-sequence
    scores["p2"].offsets[-1, 1] += 1
    assert set(sound_scores(llm, write_knowledge(a, 4, "answer", "labels"), scores, 257)) == {"p0", "p1", "p3", "p4"}
    assert llm.report.notices[0].endswith(f"sample 'p2', offsets beyond the end of the text, byte {size + 1}")


def test_texts_that_a_tokenizer_cannot_trace_go_without(tmp_path: FilePath):
    llm, a = soft("llm", tmp_path), soft("a", tmp_path)
    learners: dict[str, Any] = {party.name: party.learner for party in (llm, a)}
    learners["a"].untraceable = frozenset({GOLD["p1"]})
    learners["llm"].untraceable = frozenset({GOLD["p2"]})
    offer = receive_knowledge(
        llm, send_knowledge(a, write_knowledge(a, 1, "answer", "labels"), "labels"), "a", 1, "labels"
    )
    assert a.report.notices == (
        "round 1: 1 of 5 soft targets of a is left out; the first: sample 'p1', its tokens cannot be traced back to "
        "the bytes of the text",
    )
    lessons = [Lesson(id, "?", text) for id, text in GOLD.items()]
    assert [lesson.soft is not None for lesson in with_soft_targets(llm, lessons, offer)] == [
        True, False, False, True, True,
    ]  # fmt: skip


def test_an_empty_path_has_no_soft_target(tmp_path: FilePath):
    llm, a = soft("llm", tmp_path), soft("a", tmp_path)
    learner: Any = a.learner
    learner.answers["public 2"] = ""
    received = receive_knowledge(
        llm, send_knowledge(a, write_knowledge(a, 1, "answer", "paths"), "paths"), "a", 1, "paths"
    )
    assert (len(received.knowledge.paths), set(received.scores)) == (5, {"p0", "p1", "p3", "p4"})


def test_soft_targets_that_a_stranger_sends_are_checked(tmp_path: FilePath):
    llm, a = soft("llm", tmp_path), soft("a", tmp_path)
    told = send_knowledge(a, write_knowledge(a, 1, "answer", "labels"), "labels")
    small = {**told, VOCABULARY: vocabulary.encode(BYTES[:99], 0)}
    with pytest.raises(FederationError, match="over 257 tokens; expected those of 'a' in round 1 over 99"):
        receive_knowledge(llm, small, "a", 1, "labels")
    scores = dict(soft_targets.SoftTargets(told[SOFT], known_ids=None))
    early = soft_targets.encode(scores, vocabulary_size=257, party="a", round=0)
    with pytest.raises(FederationError, match="of 'a' in round 0"):
        receive_knowledge(llm, {**told, SOFT: early}, "a", 1, "labels")
    broken = bytearray(told[SOFT])
    broken[-3] ^= 0xFF  # within the last sample's frame
    received = receive_knowledge(llm, {**told, SOFT: bytes(broken)}, "a", 1, "labels")
    assert set(received.scores) == {"p0", "p1", "p2", "p3"}
    assert "1 of 5 soft targets of a is left out; the first: sample 'p4'" in llm.report.notices[0]


def test_the_surest_party_teaches_and_all_labels_are_studied(tmp_path: FilePath):
    sure = {
        "llm": {0: -2.0, 1: -2.0, 2: -2.0, 3: -2.0, 4: -2.0},
        "a": {0: -1.0, 1: -2.0, 2: -1.5, 3: -3.0, 4: float("nan")},
        "b": {0: -1.5, 1: -2.5, 2: -1.0, 3: -1.0, 4: -2.0},
    }
    both = bare(tmp_path, sure)
    both.run(1)
    (study,) = both.studies("llm")
    assert study.texts() == {id: (text, None) for id, text in GOLD.items()}
    # 0: a is surer than b, 2 and 3: b; of 1 and 4 nobody is surer than the LLM itself.
    assert [lesson.sample_id for lesson in study.lessons if lesson.soft] == ["p0", "p2", "p3"]
    # All sure of what they have studied, the LLM included: no client learns from it, but each studies the labels.
    _, distil = both.studies("b")
    assert distil.texts() == study.texts()
    assert {lesson.sample_id for lesson in distil.lessons if lesson.soft} == {"p1"}
    record = next(r for r in both.server.report.studies if r.party == "llm")
    assert (record.lessons, record.soft) == (5, 3)


def test_soft_targets_come_across_tokenizers(tmp_path: FilePath):
    both = bare(tmp_path, {"llm": {}, "a": {i: -1.0 for i in range(5)}, "b": {}})
    llm, a = both.server.learner, both.clients["a"].learner
    a.words = (*BYTES, b"ans", b"wer")  # pyright: ignore[reportAttributeAccessIssue]
    both.run(1)
    lesson = both.studies("llm")[0].lessons[0]
    assert lesson.soft is not None
    (spelled,) = llm.tokenize([lesson.chosen])
    assert spelled is not None
    assert lesson.soft.ids.shape == (len(spelled.tokens), 3)
    masses = np.exp(lesson.soft.log_probs).sum(1)
    # "answer" is six letters of the LLM's and two tokens of a's: inside these there is nothing to learn from.
    assert masses[:6].tolist() == [0.0] * 6
    own = np.exp(lesson.soft.log_probs[6:])[lesson.soft.ids[6:] == spelled.tokens[6:, None]]
    assert own == pytest.approx(0.5, abs=0.02)


def test_chunks_come_across_tokenizers(tmp_path: FilePath):
    llm, a = (make_party(name, set(), tmp_path, objective=make(OBJECTIVES, "alm")) for name in ("llm", "a"))
    learner: Any = a.learner
    learner.words = (*BYTES, b"ans", b"wer")
    offer = receive_knowledge(
        llm, send_knowledge(a, write_knowledge(a, 1, "answer", "labels"), "labels"), "a", 1, "labels"
    )
    (lesson,) = with_soft_targets(llm, [Lesson("p0", "public 0", GOLD["p0"])], offer)
    assert lesson.soft is None
    assert lesson.chunks is not None
    # "ans" and "wer" are three letters each of the LLM's; then both have a byte a token, and the end.
    assert lesson.chunks.tokens.tolist() == [[0, 3], [3, 6], *([i, i + 1] for i in range(6, 13))]
    assert lesson.chunks.log_probs == pytest.approx(np.log(0.5), abs=0.04)
    # A chunk is as likely as all of its tokens in turn.
    back = receive_knowledge(
        a, send_knowledge(llm, write_knowledge(llm, 1, "answer", "labels"), "labels"), "llm", 1, "labels"
    )
    (lesson,) = with_soft_targets(a, [Lesson("p0", "public 0", GOLD["p0"])], back)
    assert lesson.chunks is not None
    assert lesson.chunks.tokens.tolist() == [[i, i + 1] for i in range(9)]
    assert lesson.chunks.log_probs[:2] == pytest.approx(3 * np.log(0.5), abs=0.12)


def test_tokenizers_without_a_common_byte_are_refused(tmp_path: FilePath):
    llm, a = soft("llm", tmp_path), soft("a", tmp_path)
    offer = receive_knowledge(
        llm, send_knowledge(a, write_knowledge(a, 1, "answer", "labels"), "labels"), "a", 1, "labels"
    )
    strange = replace(offer, vocabulary=Vocabulary(("я".encode(),) * 257, 256))
    learner: Any = llm.learner
    learner.words = tuple(word for word in BYTES if word not in "я".encode())
    with pytest.raises(InputError, match="the tokenizers of 'a' and 'llm' have no byte in common"):
        with_soft_targets(llm, [Lesson("p0", "public 0", GOLD["p0"])], strange)


def test_paths_that_no_table_holds_are_left_out_and_counted(tmp_path: FilePath) -> None:
    party = make_party("a", set(range(5)), tmp_path)
    whole = write_knowledge(party, 1, "answer", "paths")
    party.limits = Limits(table_bytes=4096 + 2 * (48 + 2 + 15 + 5))  # a header, and two rows: id, text and answer
    assert paths.decode(send_knowledge(party, whole, "paths")[PATHS], known_ids=None).paths == whole.paths[:2]
    assert party.report.notices == (
        "round 1: 3 of 5 paths of a are left out, since they exceed limits.table_bytes, 4236; 4446 would be enough",
    )
    party.limits = Limits(table_bytes=4446)
    assert paths.decode(send_knowledge(party, whole, "paths")[PATHS], known_ids=None) == whole


def test_what_a_party_tells_is_what_it_knows(tmp_path: FilePath) -> None:
    party = make_party("a", {0, 1}, tmp_path, sure={0: -0.1, 1: -1 / 3})
    known = write_knowledge(party, 1, "answer", "paths")
    keep_own_knowledge(party, encode(known, "paths"))
    assert known.paths[0].likelihood.total == -0.10000000149011612  # the float32 next to -0.1
    assert own_knowledge(party, 1, "paths") == known
    assert receive_knowledge(party, send_knowledge(party, known, "paths"), "a", 1, "paths").knowledge == known


def test_more_tokens_than_a_text_can_have_are_refused(tmp_path: FilePath) -> None:
    objective = make(OBJECTIVES, "soft_targets", k=2)
    party = make_party("llm", {0}, tmp_path, objective=objective)
    client = make_party("a", {0}, tmp_path, objective=objective)
    known = write_knowledge(client, 1, "answer", "labels")
    told = dict(send_knowledge(client, known, "labels"))
    check_parts(party, "a", 1, told)
    many = 16 * (len(GOLD["p0"]) + 1) + 1
    size = len(client.learner.vocabulary().tokens)
    ids = np.tile(np.array([0, 1], np.int32), (many, 1))
    scores = TokenScores(
        np.zeros(many, np.int32),
        np.zeros((many, 2), np.int32),
        SparseLogProbs(ids, np.full((many, 2), -1.0, np.float32)),
    )
    told[SOFT] = soft_targets.encode({"p0": scores}, vocabulary_size=size, party="a", round=1)
    with pytest.raises(FederationError, match="more than 16 tokens per byte of a text"):
        check_parts(party, "a", 1, told)
