"""Samples from JSONL, CSV and Parquet files, row by row. Errors name the file and the row."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
from pyarrow import parquet

from lada.core.errors import InputError, nearest
from lada.core.paths import is_file
from lada.core.terms import Sample
from lada.tasks.options import Columns
from lada.tasks.turns import conversation, has_half

FileRow = Mapping[str, object]
LONGEST_FIELD = 2**31 - 1
"""The most characters of a CSV field: the largest value of a C long on all systems. Python's own limit is 131,072."""


@dataclass(frozen=True, slots=True)
class Table:
    """A file's samples; `clients[i]` is the client that sample i names as its owner, or None.

    `columns` are the names of all columns in any row, used or not.
    """

    samples: tuple[Sample, ...]
    clients: tuple[str | None, ...]
    columns: frozenset[str]


def check_path(path: Path) -> None:
    """Raise InputError if there is no file of samples at `path`, or its form is unknown. The file is not read."""
    if path.suffix not in _READERS:
        raise InputError(
            f"data: {path} has the extension {path.suffix!r}; expected {', '.join(_READERS)}"
            f"{nearest(path.suffix, _READERS)}"
        )
    if not is_file(path):
        raise InputError(f"data: there is no file {path}; check the path, which is relative to the configuration")


def read_samples(path: Path, columns: Columns, *, require_answer: bool, limit: int | None = None) -> Table:
    """Read a `.jsonl`, `.csv` or `.parquet` file, or its first `limit` rows.

    Rows are numbered as users find them: by line in JSONL (from 1), by the row's first line in CSV (the header is line
    1), by position in Parquet (from 1). Text is UTF-8, with or without a byte order mark, and is stripped. Numbers
    become text as they are written; in Parquet, the shortest text that gives the number. A row without an id gets
    `<file stem>-<row number>`. In a conversation, the last assistant turn is rationale and answer if the row has no
    others, and the text before it is the question (see lada.tasks.turns).

    Raises InputError, naming file and row, for anything that cannot be read without guessing.
    """
    check_path(path)
    samples: list[Sample] = []
    clients: list[str | None] = []
    rows_by_id: dict[str, int] = {}
    seen: set[str] = set()
    for number, row in islice(_READERS[path.suffix](path, columns), limit):
        where = _place(path, number)
        seen |= row.keys()
        sample = _sample(row, columns, path, number, require_answer=require_answer)
        if sample.id in rows_by_id:
            raise InputError(
                f"{where}: id {sample.id!r} is also that of {_row(path)} {rows_by_id[sample.id]}; make ids unique"
            )
        rows_by_id[sample.id] = number
        samples.append(sample)
        clients.append(_text(row, columns.client, where))
    if not samples:
        raise InputError(f"data: {path} holds no rows; expected at least one question")
    return Table(tuple(samples), tuple(clients), frozenset(seen))


def _row(path: Path) -> str:
    """Return what a row's number counts: lines, if users can look them up in an editor."""
    return "row" if path.suffix == ".parquet" else "line"


def _place(path: Path, number: int) -> str:
    return f"data: {path}, {_row(path)} {number}"


def _sample(row: FileRow, columns: Columns, path: Path, number: int, *, require_answer: bool) -> Sample:
    where = _place(path, number)

    def text(column: str) -> str | None:
        return _text(row, column, where)

    def required(field: str, column: str) -> str:
        if column not in row:
            raise InputError(f"{where}: no column {column!r} (columns.{field}); {_choose_from(column, row)}")
        value = text(column)
        if value is None:
            raise InputError(f"{where}: column {column!r} is empty; expected the {field} as text")
        return value

    reply = None
    if row.get(columns.messages) in (None, ""):
        question = required("question", columns.question)
    elif text(columns.question) is None:
        question, reply = conversation(row[columns.messages], f"{where}: column {columns.messages!r}")
    else:
        raise InputError(
            f"{where}: columns {columns.question!r} and {columns.messages!r} both have a value; expected only one of "
            "them"
        )
    difficulty = text(columns.difficulty)
    if difficulty is not None and not (difficulty.isascii() and difficulty.isdigit() and len(difficulty) < 10):
        raise InputError(
            f"{where}: column {columns.difficulty!r} is {difficulty[:50]!r}; expected a whole number, 0 or more"
        )
    return Sample(
        id=text(columns.id) or f"{path.stem}-{number:05d}",
        question=question,
        answer=required("answer", columns.answer) if require_answer and not reply else text(columns.answer) or reply,
        rationale=text(columns.rationale) or reply,
        domain=text(columns.domain) or "",
        difficulty=None if difficulty is None else int(difficulty),
        entry=text(columns.entry),
    )


def _text(row: FileRow, column: str, where: str) -> str | None:
    """Return a value as stripped text; None if it is absent or blank."""
    value = row.get(column)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{where}: column {column!r} holds a {type(value).__name__}; expected text or a number")
    if has_half(value):
        raise InputError(f"{where}: column {column!r} holds half of a surrogate pair; expected valid Unicode text")
    return value.strip() or None


def _choose_from(name: str, row: FileRow) -> str:
    names = sorted(row)
    return f"it has {', '.join(map(repr, names))}{nearest(name, names)}"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield numbered lines with their line ends, so that a broken byte is reported with its line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{_place(path, number)}: byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8"
                ) from None
            yield number, text


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _read_jsonl(path: Path, _columns: Columns) -> Iterator[tuple[int, FileRow]]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            # Numbers stay as they are written: no digit is lost.
            row = json.loads(line, parse_int=str, parse_float=str, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{_place(path, number)}: not valid JSON ({getattr(error, 'msg', error)}); expected one object"
            ) from None
        if not isinstance(row, dict):
            raise InputError(f"{_place(path, number)}: valid JSON, but not an object; expected one object per line")
        yield number, row


def check_jsonl(path: Path) -> None:
    """Raise InputError, naming file and line, if a line of a JSONL file is not a JSON object in UTF-8."""
    for _ in _read_jsonl(path, Columns()):
        pass


def _read_csv(path: Path, _columns: Columns) -> Iterator[tuple[int, FileRow]]:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader((line for _, line in _lines(path)), strict=True)
    header: list[str] | None = None
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"{_place(path, number)}: not valid CSV ({error}); quote values that hold commas or quotes"
            ) from None
        if fields is None:
            return
        if not fields:
            continue
        if header is None:
            header = [name.strip() for name in fields]
            if len(set(header)) < len(header):
                raise InputError(f"data: {path}: the header names a column twice; make column names unique")
            continue
        if len(fields) != len(header):
            raise InputError(
                f"{_place(path, number)}: {len(fields)} values for {len(header)} columns; quote values that hold commas"
            )
        yield number, dict(zip(header, fields, strict=True))


def _read_parquet(path: Path, columns: Columns) -> Iterator[tuple[int, FileRow]]:
    wanted = set(columns.model_dump().values())
    try:
        file = parquet.ParquetFile(path)
        schema = file.schema_arrow
        chosen = [name for name in schema.names if name in wanted]
        for name in chosen:
            if name != columns.messages and not _is_text_or_number(schema.field(name).type):
                raise InputError(
                    f"data: {path}: column {name!r} has the type {schema.field(name).type}; expected text or numbers"
                )
        # A column that is not read still counts as present, so that a wrong name can be corrected.
        rest: dict[str, Any] = dict.fromkeys(schema.names)
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=chosen):
            values = {
                name: batch.column(name).to_pylist() if name == columns.messages else _as_text(batch.column(name))
                for name in chosen
            }
            for i in range(batch.num_rows):
                number += 1
                yield number, rest | {name: column[i] for name, column in values.items()}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"data: {path}: not a readable Parquet file ({error}); write it again") from None


def _is_text_or_number(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = ("string", "large_string", "string_view", "integer", "floating", "decimal", "null")
    return any(getattr(pa.types, f"is_{check}")(kind) for check in checks)


def _as_text(column: pa.Array) -> list[str | None]:
    """Convert a column's values to text; not-a-number, which pandas writes for a missing value, becomes None."""
    values = column.cast(pa.string()).to_pylist()
    return [None if value == "nan" else value for value in values] if pa.types.is_floating(column.type) else values


_READERS: dict[str, Callable[[Path, Columns], Iterator[tuple[int, FileRow]]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
