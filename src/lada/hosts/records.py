"""Allocations row by row, in each party's own folder: what the report shows of a filter."""

import pyarrow as pa
import pyarrow.parquet as pq

from lada.allocators.base import Candidates
from lada.core.sealed import seal
from lada.core.terms import Allocation
from lada.hosts.party import Party

SCHEMA = pa.schema(
    [
        ("round", pa.int32()),
        ("teacher", pa.string()),
        ("student", pa.string()),
        ("sample_id", pa.string()),
        ("domain", pa.string()),
        ("difficulty", pa.int32()),
        ("score", pa.float64()),
        ("chosen", pa.bool_()),
        ("source", pa.string()),
        ("teacher_right", pa.bool_()),
        ("student_right", pa.bool_()),
        ("reason", pa.string()),
    ]
)


def keep_rows(party: Party, candidates: Candidates, allocation: Allocation) -> None:
    """Write one row per candidate of one direction and round into the party's folder."""
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
    name = f"allocation-{candidates.round}-{candidates.teacher}-{candidates.student}.parquet"
    table = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), table)
    seal(party.folder / name, table.getvalue().to_pybytes())
