"""Paths and likelihoods as bytes: exact round trips, and only CodecError for bytes that nobody should trust."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.codecs import likelihoods, paths
from lada.codecs.likelihoods import Judgement, rounded
from lada.codecs.table import LIMIT, Field, pack, unpack
from lada.core.errors import CodecError
from lada.core.terms import Knowledge, Likelihood, Path


@st.composite
def likelihoods_of_texts(draw: st.DrawFn) -> Likelihood:
    """A sum and the least of some log-probs in range, as they are told, or the word of one who cannot say."""
    tokens, size = draw(st.integers(0, 2**24)), draw(st.integers(0, 2**32 - 1))
    if not tokens:
        return Likelihood(draw(st.sampled_from([0.0, -0.0])), 0.0, 0, size)
    least = draw(st.floats(-1e4, 0.0))
    return rounded(Likelihood(least * (1 + (tokens - 1) * draw(st.floats(0, 1))), least, tokens, size))


likelihood = likelihoods_of_texts()


@st.composite
def knowledge(draw: st.DrawFn) -> Knowledge:
    party = draw(st.text())
    ids = draw(st.lists(st.text(), unique=True, max_size=6))
    path = st.tuples(st.text(), st.none() | st.text(), st.none() | st.booleans(), likelihood, st.booleans())
    return Knowledge(party, draw(st.integers(0, 99)), tuple(Path(i, party, *draw(path)) for i in ids))


def sample(**changes: Any) -> Path:
    path = Path("s-1", "client-1", "a) spoil 6 : 11 - 6 = 5 . answer 5", "5", True, Likelihood(-1.5, -0.75, 9, 34))
    return replace(path, **changes)


def sent(*rows: Path) -> Knowledge:
    return Knowledge("client-1", 2, rows)


def inner(data: bytes) -> bytes:
    return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def stream(batches: list[pa.RecordBatch], options: pa.ipc.IpcWriteOptions | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def batch_of(data: bytes) -> pa.RecordBatch:
    return pa.ipc.open_stream(inner(data)).read_next_batch()


GOOD = paths.encode(sent(sample(), sample(sample_id="s-2", text="", answer=None, right=None)))


@given(knowledge())
def test_round_trip_to_the_bit(told: Knowledge):
    received = paths.decode(paths.encode(told), known_ids=None)
    assert repr(received) == repr(told)  # repr tells -0.0 from 0.0
    assert paths.decode(paths.encode(told), known_ids=[path.sample_id for path in told.paths]) == told


@given(st.dictionaries(st.text(), likelihood, max_size=6))
def test_likelihoods_round_trip_to_the_bit(judged: dict[str, Likelihood]):
    told = Judgement("client-1", 2, judged)
    assert repr(likelihoods.decode(likelihoods.encode(told), known_ids=judged)) == repr(told)


@given(st.floats(-1e9, 0), st.floats(-1e4, 0))
def test_what_rounding_takes(total: float, minimum: float):
    once = rounded(Likelihood(total, minimum, 2**20, 5))
    assert abs(once.total - total) <= max(2**-24 * -total, 2**-150)
    assert abs(once.minimum - minimum) <= max(2**-24 * -minimum, 2**-150)
    assert rounded(once) == once


@given(likelihood, st.integers(0, 9))
def test_whoever_is_told_has_the_numbers_of_the_one_who_tells(judged: Likelihood, size: int):
    exact = Likelihood(judged.total * (1 - 2**-40), judged.minimum * (1 - 2**-40), judged.tokens, size)
    received = likelihoods.decode(likelihoods.encode(Judgement("a", 1, {"s": exact})), known_ids=None)
    assert received.likelihoods == {"s": rounded(exact)}


def test_odd_texts_and_no_rows():
    odd = sent(sample(text="\0 🧮 \r\n ﬃ e\u0301 \u202e", answer=""), sample(sample_id="", text="", answer=None))
    assert paths.decode(paths.encode(odd), known_ids=None) == odd
    assert paths.decode(paths.encode(sent()), known_ids=[]) == sent()


def test_the_same_values_give_the_same_bytes():
    assert paths.encode(sent(sample())) == paths.encode(sent(sample()))


@settings(max_examples=75)
@given(st.binary(max_size=200))
def test_garbage(data: bytes):
    for raw in (data, zstd(data)):
        with pytest.raises(CodecError):
            paths.decode(raw, known_ids=None)


@pytest.mark.parametrize("data", [GOOD, inner(GOOD)], ids=["as sent", "within the zstd frame"])
@given(choice=st.data())
@settings(max_examples=75)
def test_flipped_and_truncated_bytes_give_a_codec_error_or_valid_knowledge(data: bytes, choice: st.DataObject):
    hurt = bytearray(data)
    for _ in range(choice.draw(st.integers(1, 3))):
        hurt[choice.draw(st.integers(0, len(hurt) - 1))] ^= choice.draw(st.integers(1, 255))
    end = choice.draw(st.just(len(hurt)) | st.integers(0, len(hurt)))
    raw = bytes(hurt[:end]) if data is GOOD else zstd(bytes(hurt[:end]))
    try:
        received = paths.decode(raw, known_ids=["s-1", "s-2"])
    except CodecError:
        return
    # What is accepted could have been sent.
    assert paths.decode(paths.encode(received), known_ids=["s-1", "s-2"]) == received


@given(st.integers(0, len(GOOD) - 1))
def test_truncated_bytes(end: int):
    with pytest.raises(CodecError):
        paths.decode(GOOD[:end], known_ids=None)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (sample(likelihood=Likelihood(float("nan"), -1.0, 1, 1)), "total holds a number that is not finite"),
        (sample(likelihood=Likelihood(-1.0, float("-inf"), 1, 1)), "minimum holds a number that is not finite"),
        (sample(likelihood=Likelihood(1e-9, -1.0, 1, 1)), "log-prob above zero"),
        (sample(likelihood=Likelihood(-1e308, -1e308, 1, 1)), "total holds a number that is not finite"),
        (sample(likelihood=Likelihood(-10001.0, -10001.0, 1, 1)), "log-prob below -10000 nats"),
        (
            sample(likelihood=Likelihood(-2.0, -1.0, 1, 1)),
            "is inconsistent with their minimum",
        ),  # its mean is below its least
        (
            sample(likelihood=Likelihood(-1.0, -2.0, 9, 1)),
            "is inconsistent with their minimum",
        ),  # the sum is above the least
        (sample(likelihood=Likelihood(-1.0, -1.0, 2**24 + 1, 1)), "more than 16777216 tokens"),
        (sample(likelihood=Likelihood(-1.0, -1.0, 0, 1)), "log-probs of no tokens"),
        (sample(likelihood=Likelihood(-1.0, -1.0, -1, 1)), "does not fit its column"),
        (sample(likelihood=Likelihood(-1.0, -1.0, 1, 2**32)), "does not fit its column"),
        (sample(text="\ud800"), "does not fit its column"),
        (sample(text=None), "text lacks a value"),
        (sample(writer="client-2"), "another writer"),
    ],
)
def test_values_that_cannot_be_sent(path: Path, said: str):
    with pytest.raises(CodecError, match=said):
        paths.encode(sent(path))


def test_ids():
    with pytest.raises(CodecError, match="twice"):
        paths.encode(sent(sample(), sample()))
    with pytest.raises(CodecError, match="not among the 2 known"):
        paths.decode(GOOD, known_ids=["s-1", "s-3"])
    with pytest.raises(CodecError, match="2 rows; expected at most 1"):
        paths.decode(GOOD, known_ids=["s-1"])


def edited(**columns: list[Any]) -> bytes:
    """GOOD with some columns replaced, written without any check."""
    batch = batch_of(GOOD)
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else column
        for field, column in zip(batch.schema, batch.columns, strict=True)
    ]
    return zstd(stream([pa.RecordBatch.from_arrays(arrays, schema=batch.schema)]))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (edited(total=[float("inf"), -1.0]), "total holds a number that is not finite"),
        (edited(minimum=[-1.0, float("nan")]), "minimum holds a number that is not finite"),
        (edited(total=[5.0, -1.0]), "log-prob above zero"),
        (edited(id=["s-1", "s-1"]), "twice"),
        (edited(id=["s-1", "private-7"]), "not among"),
        (edited(text=["", None]), "text lacks a value"),
    ],
)
def test_a_sender_that_does_not_check(data: bytes, said: str):
    with pytest.raises(CodecError, match=said):
        paths.decode(data, known_ids=["s-1", "s-2"])


def test_text_that_is_not_utf8():
    raw = inner(GOOD).replace(b"spoil", b"sp\xffil")
    with pytest.raises(CodecError, match="not readable"):
        paths.decode(zstd(raw), known_ids=None)


def relabelled(**header: str) -> bytes:
    batch = batch_of(GOOD)
    old = {key.decode(): value.decode() for key, value in batch.schema.metadata.items()}
    return zstd(stream([batch.replace_schema_metadata({**old, **header})]))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"format": "1"}, r"in format '2', which this version of LaDa writes: give all parties the same version"),
        ({"format": "3"}, "of another kind or format"),
        ({"rows": "1"}, "record batches of other sizes than those of 1 row"),
        ({"rows": "3"}, "record batches of other sizes than those of 3 rows"),
        ({"rows": "0"}, "record batches of other sizes than those of 0 rows"),
        ({"rows": "-2"}, "rows: expected a number"),
        ({"kind": "likelihoods"}, "of another kind or format"),
        ({"round": "-1"}, "round: expected a number"),
        ({"round": "٣"}, "round"),
        ({"round": "9" * 5000}, "round: expected a number"),
    ],
)
def test_headers(header: dict[str, str], said: str):
    with pytest.raises(CodecError, match=said):
        paths.decode(relabelled(**header), known_ids=None)


def test_another_schema():
    batch = batch_of(GOOD)
    for other in (
        batch.drop_columns(["size"]),
        batch.select(list(reversed(batch.schema.names))),
        batch.cast(batch.schema.set(7, pa.field("size", pa.int64(), nullable=False))),
        batch.cast(batch.schema.set(1, pa.field("text", pa.string()))),
    ):
        with pytest.raises(CodecError, match="columns"):
            paths.decode(zstd(stream([other])), known_ids=None)
    with pytest.raises(CodecError, match="of another kind"):
        likelihoods.decode(GOOD, known_ids=None)


def test_a_table_of_an_earlier_version_is_refused_as_one():
    rows = pa.record_batch({"id": ["s-1"], "total": pa.array([-1.5], pa.float64())})
    old = zstd(stream([rows.replace_schema_metadata({"kind": "paths", "format": "1", "party": "a", "round": "1"})]))
    with pytest.raises(CodecError, match="paths: of another kind or format; expected 'paths' in format '2'"):
        paths.decode(old, known_ids=None)


@pytest.mark.parametrize("order", ["", "s", "b", "bs", "bb", "ss", "sbb", "sbs"])
def test_one_schema_then_its_record_batches_it_must_be(order: str):
    schema, batch = (message.serialize().to_pybytes() for message in pa.ipc.MessageReader.open_stream(inner(GOOD)))
    assert paths.decode(zstd(schema + batch), known_ids=None).paths
    with pytest.raises(CodecError, match=r"not one schema with record batches|record batches of other"):
        paths.decode(zstd(b"".join({"s": schema, "b": batch}[message] for message in order)), known_ids=None)


def bomb_in_the_frame() -> bytes:
    return zstd(bytes(2**20))


def bomb_in_the_body() -> bytes:
    """A record batch whose buffers are compressed once more, so that its frame stays small."""
    batch = batch_of(paths.encode(sent(sample(text="0" * 2**20))))
    return zstd(stream([batch], pa.ipc.IpcWriteOptions(compression="zstd")))


@pytest.mark.parametrize(
    ("bomb", "said"), [(bomb_in_the_frame, "more than 65536 bytes"), (bomb_in_the_body, "hides its size")]
)
def test_decompression_bombs(bomb: Callable[[], bytes], said: str):
    data = bomb()
    assert len(data) < 2**12
    with pytest.raises(CodecError, match=said):
        paths.decode(data, known_ids=None, limit=2**16)


def test_the_limit_is_exact():
    size = len(inner(GOOD))
    assert len(paths.decode(GOOD, known_ids=None, limit=size).paths) == 2
    with pytest.raises(CodecError):
        paths.decode(GOOD, known_ids=None, limit=size - 1)


FIELD = Field("id", "string", nullable=False)


def many(rows: int) -> tuple[bytes, list[bytes]]:
    """A table of three rows a batch, and its messages: the schema and the batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lada.codecs.table.ROWS", 3)
        data = pack("t", [FIELD], {"id": [f"s-{row}" for row in range(rows)]}, {})
    return data, [message.serialize().to_pybytes() for message in pa.ipc.MessageReader.open_stream(inner(data))]


def read_many(data: bytes, **limits: Any) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lada.codecs.table.ROWS", 3)
        return unpack(data, "t", [FIELD], known_ids=None, **({"limit": LIMIT} | limits))[0]["id"]


@given(st.integers(0, 20))
def test_many_batches_are_one_table(rows: int):
    data, messages = many(rows)
    assert len(messages) == 1 + -(-rows // 3)
    assert read_many(data) == pa.ipc.open_stream(inner(data)).read_all()["id"].to_pylist()
    assert read_many(data) == [f"s-{row}" for row in range(rows)]


@given(st.data())
def test_a_batch_too_many_or_too_few_or_elsewhere_is_refused(choice: st.DataObject):
    _, (schema, *batches) = many(8)
    order = choice.draw(
        st.lists(st.integers(0, 2), max_size=5).filter(lambda order: order != sorted({*order, 0, 1, 2}))
    )
    if order == [1, 0, 2]:  # whole batches that change places are another table: rows have names, not places
        assert sorted(read_many(zstd(schema + b"".join(batches[i] for i in order)))) == [f"s-{row}" for row in range(8)]
        return
    with pytest.raises(CodecError, match=r"record batches of other sizes|twice"):
        read_many(zstd(schema + b"".join(batches[i] for i in order)))


def test_a_million_small_batches_are_refused_at_the_first():
    _, (schema, *_, short) = many(8)
    with pytest.raises(CodecError, match="record batches of other sizes than those of 8 rows"):
        read_many(zstd(schema + 100_000 * short))


def test_a_table_is_as_large_as_the_limit_allows():
    data = pack("t", [FIELD], {"id": ["x" * (LIMIT + 1), "y"]}, {})
    assert len(read_many(data, limit=None)[0]) == LIMIT + 1
    assert len(read_many(data, limit=2 * LIMIT)[0]) == LIMIT + 1
    with pytest.raises(CodecError, match=f"more than {LIMIT} bytes before compression"):
        read_many(data)


def test_any_arrow_library_reads_it():
    table = pa.ipc.open_stream(inner(GOOD)).read_all()
    assert table["tokens"].to_pylist() == [9, 9]
    assert table.schema.metadata[b"party"] == b"client-1"
    assert table["total"].to_pylist() == [-1.5, -1.5]


@pytest.mark.parametrize("told", ["", "2", "0 0", "1 0", "00", "-1", "0 1 ", "0,1", "٠", "9" * 40])
def test_rows_that_cannot_have_been_cut_are_refused(told: str):
    rows = batch_of(GOOD).to_pydict()
    header = {"party": "client-1", "round": "2"}
    assert [
        path.cut
        for path in paths.decode(pack(paths.KIND, paths.FIELDS, rows, header | {"cut": "0"}), known_ids=None).paths
    ] == [True, False]
    with pytest.raises(CodecError, match="paths: cut: expected numbers of rows, ascending"):
        paths.decode(pack(paths.KIND, paths.FIELDS, rows, header | {"cut": told}), known_ids=None)


def test_no_word_is_said_where_nothing_was_cut():
    assert b"cut" not in inner(GOOD)
