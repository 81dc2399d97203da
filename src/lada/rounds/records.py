"""Allocations row by row, in each party's own folder: what the report shows of a filter."""

import re
from collections.abc import Callable
from pathlib import Path as FilePath

from lada.allocators.base import Candidates
from lada.core.errors import LadaError
from lada.core.sealed import seal, unseal
from lada.core.terms import Allocation
from lada.rounds.party import Party

FOLDER = "allocations"
"""In a party's folder: a folder per teacher, with a file per round."""
PLACES = (
    re.compile(r"(?P<student>[^/]+)/allocation-(?P<round>[0-9]+)-(?P<teacher>.+)-(?P=student)\.parquet"),
    re.compile(rf"(?P<student>[^/]+)/{FOLDER}/(?P<teacher>[^/]+)/(?P<round>[0-9]+)\.parquet"),
)
"""Paths of a table in the folder of all parties: in a run started by an earlier version, and now."""
COLUMNS = {
    "round": "int32",
    "teacher": "string",
    "student": "string",
    "sample_id": "string",
    "domain": "string",
    "difficulty": "int32",
    "score": "float64",
    "chosen": "bool",
    "source": "string",
    "teacher_right": "bool",
    "student_right": "bool",
    "reason": "string",
}
"""Column types, in Arrow's names."""


def keep_rows(party: Party, candidates: Candidates, allocation: Allocation) -> None:
    """Write one row per candidate of one direction and round into the party's folder."""
    import pyarrow as pa  # here, since commands that write no rows import hosts
    import pyarrow.parquet as pq

    count, by_id = len(candidates.samples), {choice.sample_id: choice for choice in allocation.choices}
    choices = [by_id.get(sample.id) for sample in candidates.samples]
    columns = {
        "round": [candidates.round] * count,
        "teacher": [candidates.teacher] * count,
        "student": [candidates.student] * count,
        "sample_id": [sample.id for sample in candidates.samples],
        "domain": [sample.domain for sample in candidates.samples],
        "difficulty": [sample.difficulty for sample in candidates.samples],
        "score": [allocation.scores.get(sample.id) for sample in candidates.samples],
        "chosen": [choice is not None for choice in choices],
        "source": [choice and choice.source for choice in choices],
        "teacher_right": [path.right for path in candidates.teacher_paths],
        "student_right": [path.right for path in candidates.student_paths],
        "reason": [choice and choice.reason for choice in choices],
    }
    table = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, pa.schema(COLUMNS)), table)
    # A folder for each teacher: its checksum file is rewritten with each new file.
    file = party.folder / FOLDER / candidates.teacher / f"{candidates.round}.parquet"
    seal(file, table.getvalue().to_pybytes())


def gather(folder: FilePath, target: FilePath, leave_out: Callable[[FilePath, Exception], None]) -> None:
    """Write the rows of all parties, from the folders within `folder`, to one file, one table in memory at a time.

    They are sorted by student, round and teacher. `leave_out` is called for a table that cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(COLUMNS)
    with pq.ParquetWriter(target, schema) as writer:
        for _, file in sorted(_tables(folder).items()):
            try:
                writer.write_table(pq.read_table(pa.BufferReader(unseal(file)), schema=schema))
            except (LadaError, pa.ArrowException) as error:
                leave_out(file, error)


def _tables(folder: FilePath) -> dict[tuple[str, int, str], FilePath]:
    """Return the files by student, round and teacher; of two for the same, the later one."""
    files = [*folder.glob("*/allocation-*.parquet"), *folder.glob(f"*/{FOLDER}/*/*.parquet")]
    found = ((place.fullmatch(file.relative_to(folder).as_posix()), file) for place in PLACES for file in files)
    return {(match["student"], int(match["round"]), match["teacher"]): file for match, file in found if match}
