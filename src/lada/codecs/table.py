"""Small tables as bytes: one record batch as an Arrow IPC stream inside a zstd frame, read back without trust.

Whoever has the bytes can read them with `zstd -d` and any Arrow library.
"""

import math
import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa

from lada.core.errors import CodecError
from lada.core.plural import counted

LIMIT = 64 * 2**20
"""Most bytes that a table may have before compression."""
FORMAT = "1"

Columns = Mapping[str, Sequence[Any]]


def pack(kind: str, fields: Sequence[pa.Field], columns: Columns, header: Mapping[str, str]) -> bytes:
    """Return a table as bytes. `columns` holds one sequence per field; a column `id` names the rows.

    Raises CodecError for what `unpack` would refuse.
    """
    schema = pa.schema(fields, metadata={"kind": kind, "format": FORMAT, **header})
    try:
        batch = pa.record_batch([pa.array(columns[field.name], field.type) for field in fields], schema=schema)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise CodecError(f"{kind}: a value does not fit its column: {error}") from error
    _check(kind, batch)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(batch)
    raw = sink.getvalue()
    if raw.size > LIMIT:
        raise CodecError(f"{kind}: {counted(raw.size, 'byte')}; expected at most {LIMIT}")
    return pa.compress(raw, codec="zstd", asbytes=True)


def unpack(
    data: bytes,
    kind: str,
    fields: Sequence[pa.Field],
    *,
    known_ids: Collection[str] | None,
    limit: int,
    most: int | None = None,
) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Return columns and header of a table that `pack` wrote with the same `kind` and `fields`.

    Raises CodecError, and nothing else, for any other bytes: another schema, kind or format, more than `limit` bytes
    before compression, more than `most` rows (None: as many as ids are known), null where there must be a value, a
    float that is not finite, text that is not UTF-8, an id that is there twice or not in `known_ids` (None: every id
    is known, or the table has none). The error repeats nothing of what was sent.
    """
    try:
        batch = _read(data, kind, pa.schema(fields), limit)
        header = {key.decode(): value.decode() for key, value in (batch.schema.metadata or {}).items()}
    except CodecError:
        raise
    except Exception as error:  # there is no telling what a reader raises on bytes made to break it
        raise CodecError(f"{kind}: not readable: {type(error).__name__}") from error
    if (header.get("kind"), header.get("format")) != (kind, FORMAT):
        raise CodecError(f"{kind}: of another kind or format; expected {kind!r} in format {FORMAT!r}")
    most = len(known_ids) if most is None and known_ids is not None else most
    if most is not None and len(batch) > most:  # before anything is made of the rows
        raise CodecError(f"{kind}: {counted(len(batch), 'row')}; expected at most {most}")
    _check(kind, batch)
    columns = batch.to_pydict()
    if known_ids is not None and not set(columns["id"]) <= set(known_ids):
        raise CodecError(f"{kind}: an id that is not among the {len(known_ids)} known ones")
    return columns, header


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


def _read(data: bytes, kind: str, schema: pa.Schema, limit: int) -> pa.RecordBatch:
    """Return the only record batch; nothing larger than `limit` is ever held."""
    # Not `read`: it never frees its `limit` bytes where the frame breaks off amid them.
    raw = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read_buffer(limit + 1)
    if raw.size > limit:
        raise CodecError(f"{kind}: more than {counted(limit, 'byte')} before compression")
    messages = list(pa.ipc.MessageReader.open_stream(raw))
    if [message.type for message in messages] != ["schema", "record batch"]:  # pyarrow crashes on others
        raise CodecError(f"{kind}: not one schema with one record batch")
    if _is_compressed(messages[1].metadata.to_pybytes()):
        raise CodecError(f"{kind}: compressed within the zstd frame, which hides its size")
    sent = pa.ipc.read_schema(messages[0])
    if not sent.equals(schema):
        raise CodecError(f"{kind}: other columns than the expected {schema.names}, or of other types")
    batch = pa.ipc.read_record_batch(messages[1], sent)
    batch.validate(full=True)
    return batch


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


def _check(kind: str, batch: pa.RecordBatch) -> None:
    """Raise CodecError for values that no table may hold."""
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if column.null_count and not field.nullable:
            raise CodecError(f"{kind}: column {field.name} lacks a value")
        if pa.types.is_floating(field.type) and not all(map(math.isfinite, column.drop_null().to_pylist())):
            raise CodecError(f"{kind}: column {field.name} holds a number that is not finite")
    if "id" in batch.schema.names and len(batch.column("id").unique()) != len(batch):
        raise CodecError(f"{kind}: an id is there twice")
