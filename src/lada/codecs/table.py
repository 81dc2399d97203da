"""Tables as bytes: record batches of ROWS rows as an Arrow IPC stream inside a zstd frame, read back without trust.

Whoever has the bytes can read them with `zstd -d` and any Arrow library. No batch holds more text than Arrow can count
in 32 bits, so a table may be as large as its reader's limit allows.
"""

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lada.core.errors import CodecError
from lada.core.plural import counted

if TYPE_CHECKING:
    import pyarrow as pa  # its import is left to whoever packs or unpacks: most commands never do

LIMIT = 64 * 2**20
"""Most bytes before compression that are read without a word of the configuration's."""
FORMAT = "2"
ROWS = 4096
"""Rows of each record batch but the last, which has at most as many."""
LEAD = 8
"""Bytes before a message of Arrow: a mark, and the length of what it says of itself."""
MOST_HEADER = 16 * 2**20
"""Most bytes of a header."""
CHUNK = 2**20
"""Bytes that are decompressed at a time."""
LEVEL = 16
"""Of zstd: a quarter fewer bytes for texts than by default, for less than 30 µs a row."""

Columns = Mapping[str, Sequence[Any]]


class Field(NamedTuple):
    """A column: its name, its type as Arrow spells it, such as `uint32`, and whether a value may be null."""

    name: str
    kind: str
    nullable: bool = True


def pack(kind: str, fields: Sequence[Field], columns: Columns, header: Mapping[str, str]) -> bytes:
    """Return a table as bytes. `columns` holds one sequence per field; a column `id` names the rows.

    Raises CodecError for what `unpack` would refuse whatever its limit.
    """
    import pyarrow as pa

    rows = len(next(iter(columns.values())))
    schema = _schema(fields, {"kind": kind, "format": FORMAT, "rows": str(rows), **header})
    try:
        batches = [
            pa.record_batch(
                [pa.array(columns[field.name][start : start + ROWS], field.type) for field in schema], schema=schema
            )
            for start in range(0, rows, ROWS)
        ]
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise CodecError(f"{kind}: a value does not fit its column: {error}") from error
    for batch in batches:
        _check(kind, batch)
    _check_ids(kind, columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return pa.Codec("zstd", compression_level=LEVEL).compress(sink.getvalue(), asbytes=True)


def unpack(
    data: bytes,
    kind: str,
    fields: Sequence[Field],
    *,
    known_ids: Collection[str] | None,
    limit: int | None,
    most: int | None = None,
) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Return columns and header of a table that `pack` wrote with the same `kind` and `fields`.

    Raises CodecError, and nothing else, for any other bytes: another schema, kind or format, more than `limit` bytes
    before compression (None: any number, for what a party wrote itself), more than `most` rows (None: as many as ids
    are known), other rows than its header counts, null where there must be a value, a float that is not finite, text
    that is not UTF-8, an id that is there twice or not in `known_ids` (None: every id is known, or the table has none).
    The error repeats nothing of what was sent.
    """
    import pyarrow as pa

    schema = _schema(fields)
    most = len(known_ids) if most is None and known_ids is not None else most
    columns: dict[str, list[Any]] = {field.name: [] for field in fields}
    try:
        messages = pa.ipc.MessageReader.open_stream(_decompressed(data, kind, limit))
        header = _header(messages, kind, schema)
        rows = header_number(kind, header, "rows")
        if most is not None and rows > most:  # before anything is made of the rows
            raise CodecError(f"{kind}: {counted(rows, 'row')}; expected at most {most}")
        for batch in _batches(messages, kind, schema, rows):
            _check(kind, batch)
            for name, values in batch.to_pydict().items():
                columns[name] += values
    except CodecError:
        raise
    except Exception as error:  # there is no telling what a reader raises on bytes made to break it
        raise CodecError(f"{kind}: not readable: {type(error).__name__}") from error
    _check_ids(kind, columns)
    if known_ids is not None and not set(columns["id"]) <= set(known_ids):
        raise CodecError(f"{kind}: an id that is not among the {len(known_ids)} known ones")
    return columns, header


def count(data: bytes, kind: str) -> int:
    """Return how many rows a table has by its header, which alone is read. Raises CodecError where that cannot be."""
    import pyarrow as pa

    try:
        stream = pa.CompressedInputStream(pa.BufferReader(data), "zstd")
        lead = stream.read_buffer(LEAD).to_pybytes()
        length = int.from_bytes(lead[4:], "little")
        if length > MOST_HEADER:
            raise CodecError(f"{kind}: a header of {counted(length, 'byte')}; expected at most {MOST_HEADER}")
        schema = lead + stream.read_buffer(length).to_pybytes()
        header = _header(pa.ipc.MessageReader.open_stream(schema), kind)
    except CodecError:
        raise
    except Exception as error:  # there is no telling what a reader raises on bytes made to break it
        raise CodecError(f"{kind}: not readable: {type(error).__name__}") from error
    return header_number(kind, header, "rows")


def signed(party: str, round: int) -> dict[str, str]:
    """Return the header that says whose knowledge a table holds, and of which round."""
    return {"party": party, "round": str(round)}


def signature(kind: str, header: Mapping[str, str]) -> tuple[str, int]:
    """Return party and round of a header that `signed` wrote; whether they are true is for the caller to check.

    Raises CodecError for another header.
    """
    return header_text(kind, header, "party"), header_number(kind, header, "round")


def header_text(kind: str, header: Mapping[str, str], key: str) -> str:
    """Return an entry of a header. Raises CodecError where there is none."""
    if key not in header:
        raise CodecError(f"{kind}: the header lacks {key!r}")
    return header[key]


def header_number(kind: str, header: Mapping[str, str], key: str) -> int:
    """Return an entry of a header that is a number in 0..10^9 - 1. Raises CodecError for any other."""
    text = header_text(kind, header, key)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise CodecError(f"{kind}: {key}: expected a number in 0..{10**9 - 1}")
    return int(text)


def _schema(fields: Sequence[Field], header: Mapping[str, str] | None = None) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([pa.field(*field) for field in fields], metadata=header)


def _decompressed(data: bytes, kind: str, limit: int | None) -> "pa.Buffer":
    """Return what is in a zstd frame; nothing larger than `limit` and a chunk is ever held."""
    import pyarrow as pa

    # Not `read`: it never frees its bytes where the frame breaks off amid them.
    stream, raw = pa.CompressedInputStream(pa.BufferReader(data), "zstd"), pa.BufferOutputStream()
    while (chunk := stream.read_buffer(CHUNK)).size:
        if limit is not None and raw.tell() + chunk.size > limit:
            raise CodecError(f"{kind}: more than {counted(limit, 'byte')} before compression")
        raw.write(chunk)
    return raw.getvalue()


def _header(messages: "pa.ipc.MessageReader", kind: str, schema: "pa.Schema | None" = None) -> dict[str, str]:
    """Return the header of a table; its kind and format come before its columns, which differ with them."""
    import pyarrow as pa

    first = next(messages, None)
    if first is None or first.type != "schema":
        raise CodecError(f"{kind}: not one schema with record batches")
    sent = pa.ipc.read_schema(first)
    header = {key.decode(): value.decode() for key, value in (sent.metadata or {}).items()}
    if (header.get("kind"), header.get("format")) != (kind, FORMAT):
        raise CodecError(
            f"{kind}: of another kind or format; expected {kind!r} in format {FORMAT!r}, which this version of LaDa "
            "writes: give all parties one version, and start again a run that another version began"
        )
    if schema is not None and not sent.equals(schema):
        raise CodecError(f"{kind}: other columns than the expected {schema.names}, or of other types")
    return header


def _batches(messages: "pa.ipc.MessageReader", kind: str, schema: "pa.Schema", rows: int) -> "Iterator[pa.RecordBatch]":
    """Yield the record batches: ROWS rows each but in the last, `rows` in all."""
    import pyarrow as pa

    sizes = iter(min(ROWS, rows - start) for start in range(0, rows, ROWS))
    for message in messages:
        if message.type != "record batch":  # pyarrow crashes on others
            raise CodecError(f"{kind}: not one schema with record batches")
        if _is_compressed(message.metadata.to_pybytes()):
            raise CodecError(f"{kind}: compressed within the zstd frame, which hides its size")
        batch = pa.ipc.read_record_batch(message, schema)
        if len(batch) != next(sizes, None):  # each of a size that follows, or a million small ones would take hours
            raise CodecError(f"{kind}: record batches of other sizes than those of {counted(rows, 'row')}")
        batch.validate(full=True)
        yield batch
    if next(sizes, None) is not None:
        raise CodecError(f"{kind}: record batches of other sizes than those of {counted(rows, 'row')}")


def _is_compressed(message: bytes) -> bool:
    """Whether a record-batch message declares that its body is compressed.

    A message is a flatbuffer, in which field i of a table lies where entry i of its vtable says (format/Message.fbs
    of Arrow: field 2 of a message is its record batch, field 3 of that the compression).
    """

    def field(table: int, number: int) -> int:
        vtable = table - struct.unpack_from("<i", message, table)[0]
        slot = 4 + 2 * number
        length = struct.unpack_from("<H", message, vtable)[0]
        offset = struct.unpack_from("<H", message, vtable + slot)[0] if slot < length else 0
        return table + offset if offset else 0

    def target(position: int) -> int:
        return position + struct.unpack_from("<I", message, position)[0]

    return field(target(field(target(0), 2)), 3) != 0


def _check(kind: str, batch: "pa.RecordBatch") -> None:
    """Raise CodecError for values that no table may hold."""
    import pyarrow as pa

    for field, column in zip(batch.schema, batch.columns, strict=True):
        if column.null_count and not field.nullable:
            raise CodecError(f"{kind}: column {field.name} lacks a value")
        if pa.types.is_floating(field.type) and not np.isfinite(column.drop_null().to_numpy()).all():
            raise CodecError(f"{kind}: column {field.name} holds a number that is not finite")


def _check_ids(kind: str, columns: Columns) -> None:
    if "id" in columns and len(set(columns["id"])) != len(columns["id"]):
        raise CodecError(f"{kind}: an id is there twice")
