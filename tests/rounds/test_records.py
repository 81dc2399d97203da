"""The rows of all parties' allocations in one table, whatever version of LaDa began the run."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lada.rounds.records import COLUMNS, gather


def put(file: Path, round: int, teacher: str, student: str, sample: str) -> None:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"round": round, "teacher": teacher, "student": student, "sample_id": sample}
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([row], pa.schema(COLUMNS)), file)


def gathered(folder: Path) -> list[tuple[str, int, str, str]]:
    left_out: list[Path] = []
    gather(folder, folder / "all.parquet", lambda file, _: left_out.append(file))
    assert not left_out
    rows = pq.read_table(folder / "all.parquet").to_pylist()
    return [(row["student"], row["round"], row["teacher"], row["sample_id"]) for row in rows]


def test_rounds_are_in_the_order_of_their_numbers(tmp_path: Path):
    for round in (10, 2, 1):
        put(tmp_path / "llm" / "allocations" / "phone-1" / f"{round}.parquet", round, "phone-1", "llm", "q")
    assert [row[1] for row in gathered(tmp_path)] == [1, 2, 10]


def test_rows_of_a_run_that_an_earlier_version_began_are_kept(tmp_path: Path):
    put(tmp_path / "llm" / "allocation-1-phone-1-llm.parquet", 1, "phone-1", "llm", "before")
    put(tmp_path / "phone-1" / "allocation-1-llm-phone-1.parquet", 1, "llm", "phone-1", "before")
    put(tmp_path / "phone-1" / "allocation-2-llm-phone-1.parquet", 2, "llm", "phone-1", "before")
    # Round 2 was not over, so that it is done again by this version.
    put(tmp_path / "phone-1" / "allocations" / "llm" / "2.parquet", 2, "llm", "phone-1", "now")
    put(tmp_path / "phone-1" / "allocation-of-mine.parquet", 3, "llm", "phone-1", "by hand")
    assert gathered(tmp_path) == [
        ("llm", 1, "phone-1", "before"),
        ("phone-1", 1, "llm", "before"),
        ("phone-1", 2, "llm", "now"),
    ]
