"""Allocations row by row, in each party's own folder: what the report shows of a filter."""

from collections.abc import Callable
from pathlib import Path as FilePath

from lada.allocators.base import Candidates
from lada.core.errors import LadaError
from lada.core.sealed import seal, unseal
from lada.core.terms import Allocation
from lada.hosts.party import Party

FOLDER = "allocations"
"""In a party's folder: a folder for each of its teachers, with a file for each round."""
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
"""Their types, as Arrow spells them."""


def keep_rows(party: Party, candidates: Candidates, allocation: Allocation) -> None:
    """Write one row per candidate of one direction and round into the party's folder."""
    import pyarrow as pa  # here, since hosts are looked up by commands that write no rows
    import pyarrow.parquet as pq

    chosen = {choice.sample_id: choice for choice in allocation.choices}
    rows = []
    for sample, teacher, student in zip(
        candidates.samples, candidates.teacher_paths, candidates.student_paths, strict=True
    ):
        choice = chosen.get(sample.id)
        rows.append(
            {
                "round": candidates.round,
                "teacher": candidates.teacher,
                "student": candidates.student,
                "sample_id": sample.id,
                "domain": sample.domain,
                "difficulty": sample.difficulty,
                "score": allocation.scores.get(sample.id),
                "chosen": choice is not None,
                "source": choice and choice.source,
                "teacher_right": teacher.right,
                "student_right": student.right,
                "reason": choice and choice.reason,
            }
        )
    table = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(COLUMNS)), table)
    # A folder for each teacher: what vouches for its files is written anew with each of them.
    file = party.folder / FOLDER / candidates.teacher / f"{candidates.round}.parquet"
    seal(file, table.getvalue().to_pybytes())


def gather(folder: FilePath, target: FilePath, leave_out: Callable[[FilePath, Exception], None]) -> None:
    """Write the rows of all parties, in the folders within `folder`, to one file, a table in memory at a time.

    They are sorted by student, round and teacher; of a table that cannot be read `leave_out` is told.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(COLUMNS)
    files = folder.glob(f"*/{FOLDER}/*/*.parquet")
    with pq.ParquetWriter(target, schema) as writer:
        for file in sorted(files, key=lambda file: (file.parts[-4], file.stem, file.parts[-2])):
            try:
                writer.write_table(pq.read_table(pa.BufferReader(unseal(file)), schema=schema))
            except (LadaError, pa.ArrowException) as error:
                leave_out(file, error)
