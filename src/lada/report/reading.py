"""Reads a run's folder. Errors about missing or malformed files name the folder and the fix."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError
from pydantic_core import from_json

from lada.core.errors import InputError, LadaError, nearest
from lada.core.results import SCHEMA_VERSION, Results
from lada.core.sealed import is_sealed, unseal, unsealed_file

BATCH = 65_536
"""The most rows of allocations.parquet that are in memory at a time."""
NOTED = "noted"
"""The folder with a file for each finished round."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of allocations.parquet: one public sample in one direction of one pair in one round."""

    round: int
    teacher: str
    student: str
    sample_id: str
    domain: str
    difficulty: int | None
    score: float | None
    chosen: bool
    source: str | None
    """Whose path is learnt: `teacher`, `student`, or None if the sample was not chosen."""
    teacher_right: bool | None
    student_right: bool | None
    reason: str | None


def read_results(run_folder: Path) -> Results:
    """Return the results of a run. Raises InputError if it is missing, malformed or of another schema."""
    if not run_folder.is_dir():
        near = nearest(run_folder.name, (path.name for path in run_folder.parent.glob("*/")))
        raise InputError(f"there is no folder {str(run_folder)!r}; expected that of a run, such as runs/demo{near}")
    file = run_folder / "results.json"
    fix = f"name the folder of a finished run, or have it written again: lada run {run_folder} --resume"
    try:
        raw = from_json(unseal(file))
    except LadaError as error:
        raise InputError(f"{run_folder}: cannot read results.json ({error}); {fix}") from error
    except ValueError as error:
        raise InputError(f"{run_folder}: results.json is not JSON ({error}); {fix}") from error
    version = raw.get("schema_version", SCHEMA_VERSION) if isinstance(raw, dict) else SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{run_folder}: results.json has schema_version {version!r}; this version of lada reads {SCHEMA_VERSION}. "
            "Make the report with the version that made the run"
        )
    try:
        return Results.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        raise InputError(
            f"{run_folder}: results.json does not fit the schema at {place}: {first['msg']}; {fix}"
        ) from error


def rounds_over(run_folder: Path) -> int:
    """Return the last finished round; -1 if none is recorded."""
    names = (file.stem for file in (run_folder / NOTED).glob("*.json"))
    return max((int(name) for name in names if name.isascii() and name.isdigit()), default=-1)


def read_candidates(run_folder: Path) -> list[Candidate]:
    """Return the rows of allocations.parquet in file order; none without such a file.

    A score that is not a finite number is read as None. Raises InputError if the file is malformed.
    """
    rows = [row for batch in read_batches(run_folder) for row in batch.to_pylist()]
    for row in rows:
        if row["score"] is not None and not math.isfinite(row["score"]):
            row["score"] = None
    return [Candidate(**row) for row in rows]


def read_batches(run_folder: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of allocations.parquet in file order, with the columns of Candidate, some at a time.

    None without such a file. Raises InputError if the file is malformed.
    """
    file = run_folder / "allocations.parquet"
    if not file.exists() and not is_sealed(file):
        return
    columns = list(Candidate.__slots__)
    try:
        with pq.ParquetFile(unsealed_file(file), memory_map=True) as table:
            if missing := sorted(set(columns) - set(table.schema_arrow.names)):
                raise KeyError(", ".join(missing))
            for batch in table.iter_batches(BATCH, columns=columns):
                yield batch.select(columns)
    except (pa.ArrowException, LadaError, OSError, KeyError) as error:
        raise InputError(
            f"{run_folder}: allocations.parquet cannot be read ({error}); expected the columns {', '.join(columns)}. "
            "Run it again, or delete the file to get a report without it"
        ) from error
