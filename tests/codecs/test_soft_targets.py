"""Token scores as bytes: exact except for log-probs, small, read one by one, and refused if they cannot be trusted."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.codecs import token_scores
from lada.codecs.frames import FIELDS, ZSTD
from lada.codecs.soft_targets import MARK, SoftTargets, encode
from lada.codecs.table import pack
from lada.codecs.token_scores import Shape
from lada.core.errors import CodecError
from lada.core.terms import SparseLogProbs, TokenScores

K, V = 4, 100


def scores_of(n: int, k: int, vocabulary_size: int, seed: int = 0, spread: float = 4.0) -> TokenScores:
    """A random text of n tokens: k of the vocabulary's tokens at each position, one of them the text's own."""
    draw = np.random.default_rng(seed)
    ids = np.array([sorted(draw.choice(vocabulary_size, k, replace=False)) for _ in range(n)], np.int32)
    logits = draw.normal(0, spread, (n, k + 1))
    log_probs = np.minimum(logits - np.log(np.exp(logits).sum(1, keepdims=True)), 0.0)  # rounding may go above
    ends = np.cumsum(draw.integers(0, 9, n))
    offsets = np.column_stack([np.append(0, ends[:-1])[:n], ends]).astype(np.int32)
    top = SparseLogProbs(ids.reshape(n, k), log_probs[:, :k].astype(np.float32))
    return TokenScores(top.ids[np.arange(n), draw.integers(0, k, n)], offsets, top)


def told(*, vocabulary_size: int = V, **scores: TokenScores) -> bytes:
    return encode(scores, vocabulary_size=vocabulary_size, party="client-ü", round=3)


A, B = scores_of(5, K, V, seed=1), scores_of(3, K, V, seed=2)
GOOD = told(a=A, b=B)


def same(received: TokenScores, sent: TokenScores) -> None:
    for one, other in (
        (received.tokens, sent.tokens),
        (received.offsets, sent.offsets),
        (received.top.ids, sent.top.ids),
    ):
        assert one.dtype == np.int32
        np.testing.assert_array_equal(one, other)
    assert received.top.log_probs.dtype == np.float32
    np.testing.assert_allclose(received.top.log_probs, sent.top.log_probs, rtol=0, atol=1 / 16 + 1 / 128)


def valid(received: TokenScores, shape: Shape) -> None:
    ids, log_probs = received.top.ids, received.top.log_probs
    assert ids.shape == log_probs.shape == (shape.n, shape.k)
    assert (np.diff(ids) > 0).all()
    assert ((ids >= 0) & (ids < shape.vocabulary_size)).all()
    assert (ids == received.tokens[:, None]).sum() == shape.n
    assert (np.isfinite(log_probs) & (log_probs <= 0)).all()
    assert (np.exp(log_probs.astype(np.float64)).sum(1) <= 1).all()
    assert (received.offsets >= 0).all()
    assert (received.offsets[:, 1] >= received.offsets[:, 0]).all()


@given(
    st.dictionaries(st.text(), st.tuples(st.integers(0, 12), st.integers(0, 99)), max_size=4),
    st.integers(1, 6),
    st.integers(0, 300),
    st.floats(0, 20),
)
def test_round_trip(texts: dict[str, tuple[int, int]], k: int, more: int, spread: float):
    sent = {name: scores_of(n, k, k + more, seed, spread) for name, (n, seed) in texts.items()}
    data = encode(sent, vocabulary_size=k + more, party="p", round=7)
    received = SoftTargets(data, known_ids=sent)
    assert list(received) == list(sent)
    for name, scores in sent.items():
        same(received[name], scores)
        valid(received[name], Shape(len(scores.tokens), k, k + more, 0))
    assert encode(received, vocabulary_size=k + more, party="p", round=7) == data


def test_attributes():
    received = SoftTargets(GOOD, known_ids=["a", "b"])
    assert (received.party, received.round, received.vocabulary_size, received.k, len(received)) == (
        "client-ü",
        3,
        V,
        K,
        2,
    )
    with pytest.raises(KeyError):
        received["c"]


def test_nothing_and_an_empty_text():
    nothing = SoftTargets(told(), known_ids=[])
    assert (len(nothing), nothing.k) == (0, 0)
    same(SoftTargets(told(a=A, b=scores_of(0, K, V)), known_ids=None)["b"], scores_of(0, K, V))


def test_rows_of_more_than_256_tokens():
    wide = scores_of(2, 300, 1000)
    wide = replace(wide, tokens=wide.top.ids[:, 299])
    same(SoftTargets(told(vocabulary_size=1000, wide=wide), known_ids=None)["wide"], wide)


def test_offsets_that_overlap_leave_gaps_and_are_great():
    offsets = np.array([[0, 4], [0, 4], [2, 2], [2**31 - 2, 2**31 - 1], [0, 2**31 - 1]], np.int32)
    same(SoftTargets(told(a=replace(A, offsets=offsets)), known_ids=None)["a"], replace(A, offsets=offsets))


def likely_rows(kind: str, n: int, k: int, vocabulary_size: int) -> TokenScores:
    """Log-softmax of logits as of a model: heavy tails, all but certain, or flat; one own token in ten is unlikely."""
    draw = np.random.default_rng(5)
    logits = draw.standard_normal((n, vocabulary_size), np.float32)
    if kind == "heavy":
        logits *= 1 / np.sqrt(draw.chisquare(5, (n, vocabulary_size)).astype(np.float32) / 5)  # Student's t
    elif kind == "certain":
        logits[:, 7] += draw.uniform(20, 35, n)
    elif kind == "flat":
        logits *= 0.1
    log_probs = (logits - np.log(np.exp(logits).sum(1, dtype=np.float64, keepdims=True))).clip(max=0)
    ids = np.argpartition(log_probs, -k)[:, -k:]
    own = ids[:, -1].copy()
    own[::10] = ids[::10, 0] = vocabulary_size // 2 + np.arange(len(own[::10]))
    ids = np.sort(ids)
    assert (np.diff(ids) > 0).all()
    end = np.cumsum(draw.integers(1, 9, n))
    top = SparseLogProbs(ids.astype(np.int32), np.take_along_axis(log_probs, ids, 1).astype(np.float32))
    return TokenScores(own.astype(np.int32), np.column_stack([np.append(0, end[:-1]), end]).astype(np.int32), top)


@pytest.mark.parametrize("kind", ["heavy", "certain", "flat"])
def test_less_than_100_bytes_per_token_within_2_hundredths_of_a_nat(kind: str):
    sent = likely_rows(kind, 60, 32, 150_000)
    data = encode({f"s-{i}": sent for i in range(50)}, vocabulary_size=150_000, party="p", round=1)
    assert len(data) / (50 * 60) <= 100
    received = SoftTargets(data, known_ids=None)["s-49"]
    same(received, sent)
    assert np.abs(received.top.log_probs - sent.top.log_probs).mean() <= 0.02


def changed(rows: dict[str, np.ndarray]) -> TokenScores:
    """A with some rows, named array by array, replaced at position 2."""
    arrays = {"tokens": A.tokens, "offsets": A.offsets, "ids": A.top.ids, "log_probs": A.top.log_probs}
    for name, row in rows.items():
        arrays[name] = arrays[name].copy()
        arrays[name][2] = row
    return TokenScores(arrays["tokens"], arrays["offsets"], SparseLogProbs(arrays["ids"], arrays["log_probs"]))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"ids": [1, 2, 3, 4], "tokens": 5}, "own token is not in the row"),
        ({"ids": [1, 3, 2, 4], "tokens": 1}, "do not ascend"),
        ({"ids": [1, 2, 2, 4], "tokens": 1}, "do not ascend"),
        ({"ids": [1, 2, 3, 100], "tokens": 1}, "not in 0..99"),
        ({"ids": [-1, 2, 3, 4], "tokens": 2}, "not in 0..99"),
        ({"log_probs": [-1, -2, np.nan, -3]}, "not in -4095..0 nats"),
        ({"log_probs": [-1, -2, -np.inf, -3]}, "not in -4095..0 nats"),
        ({"log_probs": [-1, -2, -4096, -3]}, "not in -4095..0 nats"),
        ({"log_probs": [-1, -2, 1e-6, -3]}, "not in -4095..0 nats"),
        ({"log_probs": [-0.5, -0.5, -5, -5]}, "sum to more than 1"),
        ({"offsets": [-1, 3]}, "negative"),
        ({"offsets": [4, 3]}, "end before they start"),
    ],
)
def test_scores_that_cannot_be_told(rows: dict[str, Any], said: str):
    with pytest.raises(CodecError, match=f"soft-targets: sample 'late', position 2: .*{said}"):
        told(a=A, late=changed(rows))


def test_the_least_log_prob_can_be_told():
    sent = changed({"log_probs": np.array([-4095, -1e-9, -4095, -2000])})
    same(SoftTargets(told(a=sent), known_ids=None)["a"], sent)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (scores_of(3, K + 1, V), "as in all samples"),
        (replace(A, tokens=A.tokens[:4]), "arrays of shapes"),
        (replace(A, offsets=A.offsets[:, :1]), "arrays of shapes"),
        (replace(A, offsets=A.offsets.astype(float)), "expected integers"),
    ],
)
def test_arrays_that_do_not_fit(scores: TokenScores, said: str):
    with pytest.raises(CodecError, match=f"'late', .*{said}"):
        told(a=A, late=scores)


def test_sizes_that_cannot_be_told():
    for vocabulary_size in (K - 1, 10**9):
        with pytest.raises(CodecError, match="4 tokens per row of a vocabulary"):
            told(vocabulary_size=vocabulary_size, a=A)
    with pytest.raises(CodecError, match="0 tokens per row"):
        told(a=TokenScores(A.tokens, A.offsets, SparseLogProbs(A.top.ids[:, :0], A.top.log_probs[:, :0])))


def forged(raw: bytes, shape: Shape, index: dict[str, list[Any]] | None = None, **header: Any) -> bytes:
    """A file with one sample `s` of any bytes, and any entries of the index and its header."""
    frame = pa.Codec(ZSTD).compress(raw, asbytes=True)
    columns = {"id": ["s"], "offset": [0], "size": [len(frame)], "tokens": [shape.n], "bits": [shape.bits]}
    told = {"party": "p", "round": 1, "vocabulary_size": shape.vocabulary_size, "k": shape.k, **header}
    table = pack(MARK, FIELDS, {**columns, **(index or {})}, {key: str(value) for key, value in told.items()})
    return len(table).to_bytes(8, "little") + table + frame


RAW, SHAPE = token_scores.encode(A, V, K)


def test_what_is_forged_as_it_should_be_is_read():
    same(SoftTargets(forged(RAW, SHAPE), known_ids=["s"])["s"], A)


@pytest.mark.parametrize(
    ("index", "header", "said"),
    [
        ({}, {"k": 0}, "0 tokens per row"),
        ({}, {"k": V + 1}, "101 tokens per row"),
        ({}, {"k": 2**16 + 1, "vocabulary_size": 10**6}, "65537 tokens per row"),
        ({}, {"k": -1}, "k: expected a number"),
        ({}, {"vocabulary_size": 10**9}, "vocabulary_size: expected a number"),
        ({}, {"round": "one"}, "round: expected a number"),
        ({"tokens": [2**32 - 1]}, {}, "expected at most"),
        ({"tokens": [2**20]}, {"k": 2**16, "vocabulary_size": 2**20}, "expected at most"),
        ({}, {"vocabulary_size": 2**20 + 1}, "of a vocabulary of 1048577"),
        ({"bits": [17]}, {}, "17 bits"),
        ({"offset": [1]}, {}, "at byte 1"),
        ({"size": [1]}, {}, "bytes of samples"),
        ({"size": [2**32 - 1]}, {}, "bytes of samples"),
        ({"id": ["private-7"]}, {}, "not among"),
    ],
)
def test_indices_that_nobody_wrote(index: dict[str, list[Any]], header: dict[str, Any], said: str):
    data = forged(RAW, SHAPE, index, **header)
    with pytest.raises(CodecError, match=said):
        SoftTargets(data, known_ids=["s"])


def test_an_id_twice(monkeypatch: pytest.MonkeyPatch):
    size = len(pa.Codec(ZSTD).compress(RAW, asbytes=True))
    twice = {"id": ["s", "s"], "offset": [0, size], "size": [size, 0], "tokens": [5, 0], "bits": [SHAPE.bits, 0]}
    with monkeypatch.context() as patch:
        patch.setattr("lada.codecs.table._check_ids", lambda kind, columns: None)
        data = forged(RAW, SHAPE, twice)
    with pytest.raises(CodecError, match="an id is there twice"):
        SoftTargets(data, known_ids=None)


@pytest.mark.parametrize(
    ("index", "header"),
    [({"tokens": [4]}, {}), ({"tokens": [6]}, {}), ({"bits": [SHAPE.bits + 1]}, {}), ({}, {"k": 3}), ({}, {"k": 5})],
)
def test_sizes_that_are_not_those_of_the_frame(index: dict[str, list[Any]], header: dict[str, Any]):
    received = SoftTargets(forged(RAW, SHAPE, index, **header), known_ids=None)
    with pytest.raises(CodecError, match="sample 's' is not a frame of"):
        received["s"]


def test_a_decompression_bomb():
    bomb = forged(bytes(2**24), SHAPE)
    assert len(bomb) < 2**12
    with pytest.raises(CodecError, match="sample 's' is not a frame of"):
        SoftTargets(bomb, known_ids=None)["s"]
    with pytest.raises(CodecError, match="expected at most 1000"):
        SoftTargets(forged(bytes(SHAPE.n * 1000), SHAPE, {"tokens": [1000]}), known_ids=None, sample_limit=1000)


def test_the_limit_is_exact():
    same(SoftTargets(told(long=scores_of(900, K, V)), known_ids=None, limit=10**5)["long"], scores_of(900, K, V))
    _, shape = token_scores.encode(scores_of(900, K, V), V, K)
    SoftTargets(told(long=scores_of(900, K, V)), known_ids=None, limit=shape.size)
    with pytest.raises(CodecError, match=f"{shape.size} bytes; expected at most {shape.size - 1}"):
        SoftTargets(told(long=scores_of(900, K, V)), known_ids=None, limit=shape.size - 1)


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [(3, K, "column 4 of 4"), (4, 0xFF, "offsets that are negative")],
)
def test_parts_that_nobody_wrote(part: int, value: int, said: str):
    hurt = bytearray(RAW)
    start = sum(SHAPE.sections[:part])
    hurt[start : start + SHAPE.sections[part]] = bytes([value] * SHAPE.sections[part])
    with pytest.raises(CodecError, match=f"sample 's': .*{said}"):
        SoftTargets(forged(bytes(hurt), SHAPE), known_ids=None)["s"]


def test_only_what_is_asked_for_is_decompressed():
    hurt = bytearray(GOOD)
    hurt[-10:] = bytes(10)  # the end of b's frame
    received = SoftTargets(bytes(hurt), known_ids=["a", "b"])
    same(received["a"], A)
    assert "b" in received
    with pytest.raises(CodecError, match="sample 'b'"):
        received["b"]


def read_all(data: bytes) -> None:
    """Read everything; CodecError is the only way to fail."""
    try:
        received = SoftTargets(data, known_ids=["a", "b", "s"], limit=2**16)
        for scores in received.values():
            valid(scores, Shape(len(scores.tokens), received.k, received.vocabulary_size, 0))
    except CodecError:
        return


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    hurt = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        hurt[draw(st.integers(0, len(hurt) - 1))] ^= draw(st.integers(1, 255))
    return bytes(hurt)


@settings(max_examples=100)
@given(damaged(GOOD))
def test_flipped_bytes(data: bytes):
    read_all(data)


@settings(max_examples=100)
@given(damaged(RAW))
def test_flipped_bytes_within_the_frame(raw: bytes):
    read_all(forged(raw, SHAPE))


@given(st.integers(0, len(GOOD) - 1))
def test_truncated_bytes(end: int):
    with pytest.raises(CodecError):
        SoftTargets(GOOD[:end], known_ids=None)


@given(st.binary(max_size=200))
def test_garbage(data: bytes):
    for raw in (data, len(data).to_bytes(8, "little") + data):
        with pytest.raises(CodecError):
            SoftTargets(raw, known_ids=None)
