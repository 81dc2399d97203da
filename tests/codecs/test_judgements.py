"""Scores of the receiver's own texts: small, read against what it sent, and refused when they cannot be trusted."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import make, make_party
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.codecs import frames, token_log_probs
from lada.codecs.frames import Block
from lada.codecs.judgements import OWN, SENT, Judged, Judgements, OwnLogProbs
from lada.codecs.paths import encode
from lada.codecs.table import signed
from lada.core.errors import CodecError, FederationError
from lada.core.registry import Options
from lada.core.terms import Knowledge, Likelihood, Path, TokenLogProbs
from lada.objectives.base import OBJECTIVES
from lada.rounds.party import Party
from lada.rounds.wire import reading

TEXTS = {"p0": "so answer gold0", "p1": "no answer"}
CODEC = Judgements(Options())


def own(text: str, seed: int = 0) -> TokenLogProbs:
    """Return random log-probs of the words of a text and of its end."""
    ends = [place for place, char in enumerate(text) if char == " "] + [len(text)]
    offsets = np.array([*zip([0, *ends[:-1]], ends, strict=True), (len(text), len(text) + 1)], np.int32)
    return TokenLogProbs(offsets, -np.random.default_rng(seed).exponential(2, len(offsets)).astype(np.float32))


GOOD = {id: own(text) for id, text in TEXTS.items()}


def told(by_id: Any = GOOD, *, party: str = "llm", round: int = 3, size: int = 0) -> bytes:
    return CODEC.encode({}, Judged(party, round, size, by_id))[1]


@pytest.fixture
def student(tmp_path: FilePath) -> Party:
    """Return a client that sent TEXTS in round 3, and asks for the log-probs of their tokens."""
    party = make_party("a", set(), tmp_path, objective="on_policy")
    paths = (Path(id, "a", text, None, None, Likelihood(-1, -1, 4, len(text))) for id, text in TEXTS.items())
    party.memory[SENT] = encode(Knowledge("a", 3, tuple(paths)))
    return party


def received(party: Party, data: bytes, sender: str = "llm", round: int = 3) -> Any:
    read = reading(party, {"judgements": data}, sender, round)
    found = read.part("judgements")
    CODEC.check(found, read)
    return found


def test_offsets_are_exact_and_log_probs_as_half_precision_gives_them(student: Party):
    found = received(student, told())
    assert list(found) == list(TEXTS)
    for id, each in GOOD.items():
        assert found[id].offsets.tolist() == each.offsets.tolist()
        assert found[id].own().tolist() == each.log_probs.astype(np.float16).astype(np.float32).tolist()
    assert told(dict(found.items())) == told()  # what was rounded once is rounded no further


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(-4095, 0, width=32)), max_size=20))
def test_a_layout_of_any_tokens_comes_back(tokens: list[tuple[int, float]]):
    ends = np.cumsum([0, *(width for width, _ in tokens)])
    sent = TokenLogProbs(np.stack([ends[:-1], ends[1:]], 1).astype(np.int32),
                         np.array([value for _, value in tokens], np.float32))  # fmt: skip
    raw = token_log_probs.encode(sent)
    assert len(raw) == token_log_probs.BYTES * len(tokens)
    found = token_log_probs.decode(raw, len(tokens))
    assert found.offsets.tolist() == sent.offsets.tolist()
    np.testing.assert_allclose(found.log_probs, sent.log_probs, rtol=2**-11, atol=2**-24)


def test_a_token_takes_less_than_six_bytes():
    text = " ".join(["word"] * 40)
    data = told({f"public-{i:05}": own(text, i) for i in range(100)})
    assert len(data) / (100 * 41) < 4


def test_the_ledger_counts_the_texts_and_an_audit_finds_none_in_log_probs():
    assert CODEC.describe(told()) == 2
    assert list(CODEC.texts(told(), None)) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"party": "b"}, "of another party than the message"),
        ({"round": 2}, "of texts of another round"),
    ],
)
def test_scores_of_others_or_of_older_texts_are_refused(student: Party, given: dict[str, Any], said: str):
    with pytest.raises(FederationError, match=said):
        received(student, told(**given))


def test_texts_that_were_not_sent_are_refused(student: Party):
    with pytest.raises(CodecError, match="not among the 2 known"):
        received(student, told({"p2": own("so")}))
    del student.memory[SENT]
    with pytest.raises(FederationError, match="the receiver sent none"):
        received(student, told())


def test_more_tokens_than_a_text_can_have_are_refused(student: Party):
    n = 16 * (len(TEXTS["p1"]) + 1)
    for more, fits in ((0, True), (1, False)):
        many = TokenLogProbs(np.zeros((n + more, 2), np.int32), np.zeros(n + more, np.float32))
        if fits:
            assert received(student, told({"p1": many})).tokens("p1") == n
        else:
            with pytest.raises(FederationError, match="16 tokens per byte"):
                received(student, told({"p1": many}))


def test_a_party_that_asks_for_none_refuses_them(student: Party):
    student.objective = make(OBJECTIVES, "alm")
    with pytest.raises(FederationError, match="more than was asked for"):
        received(student, told())


@pytest.mark.parametrize(
    ("offsets", "log_probs", "said"),
    [
        ([[0, 2]], [0.5], "not in -4095..0"),
        ([[0, 2]], [np.nan], "not in -4095..0"),
        ([[0, 2]], [-4096], "not in -4095..0"),
        ([[2, 1]], [-1], "end before they start"),
        ([[-1, 1]], [-1], "negative"),
        ([[0, 1], [1, 2]], [-1], "expected .n, 2. and .n."),
    ],
)
def test_scores_that_cannot_be_told(offsets: Any, log_probs: Any, said: str):
    bad = TokenLogProbs(np.array(offsets, np.int32), np.array(log_probs, np.float32))
    with pytest.raises(CodecError, match=f"sample 'p1', .*{said}"):
        told({"p0": GOOD["p0"], "p1": bad})


@pytest.mark.parametrize(
    ("half", "said"), [(np.float16("nan"), "not in"), (np.float16(1), "not in"), (np.float16("-inf"), "not in")]
)
def test_log_probs_that_nobody_wrote(student: Party, half: Any, said: str):
    raw = half.tobytes() + bytes(8)
    data = frames.write(OWN, [Block("p0", raw, 1)], signed("llm", 3))
    with pytest.raises(CodecError, match=f"sample 'p0': .*{said}"):
        received(student, data)["p0"]


def test_a_block_of_another_size_and_one_with_bits(student: Party):
    with pytest.raises(CodecError, match="not a frame of 20 bytes"):
        received(student, frames.write(OWN, [Block("p0", bytes(10), 2)], signed("llm", 3)))["p0"]
    with pytest.raises(CodecError, match="number of bits"):
        received(student, frames.write(OWN, [Block("p0", bytes(10), 1, 1)], signed("llm", 3)))


def test_a_decompression_bomb(student: Party):
    data = frames.write(OWN, [Block("p0", bytes(2**24), 1)], signed("llm", 3))
    assert len(data) < 2**12
    with pytest.raises(CodecError, match="not a frame of 10 bytes"):
        received(student, data)["p0"]
    with pytest.raises(CodecError, match="expected at most 1000"):
        OwnLogProbs(frames.write(OWN, [Block("p0", b"", 101)], signed("llm", 3)), known_ids=None, limit=10**6,
                    sample_limit=1000)  # fmt: skip


@settings(max_examples=75)
@given(st.data())
def test_flipped_bytes_raise_nothing_but_codec_errors(data: st.DataObject):
    hurt = bytearray(told())
    for _ in range(data.draw(st.integers(1, 3))):
        hurt[data.draw(st.integers(0, len(hurt) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        for each in OwnLogProbs(bytes(hurt), known_ids=TEXTS, limit=2**16, sample_limit=2**16).values():
            assert ((each.log_probs <= 0) & (each.log_probs >= -4103)).all()
    except CodecError:
        return


@given(st.integers(0, len(told()) - 1))
def test_truncated_bytes(end: int):
    with pytest.raises(CodecError):
        OwnLogProbs(told()[:end], known_ids=None, limit=2**16, sample_limit=2**16)


def test_log_probs_alone_are_refused_where_tokens_are_asked_for(student: Party):
    student.objective = make(OBJECTIVES, "distillm2", k=2)
    with pytest.raises(CodecError, match="judged-top"):
        received(student, told())
