"""What another run chose is chosen again, for the same student or for another one."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import STUDENT, TEACHER, Row, candidates, choose

from lada.core.errors import InputError
from lada.rounds.records import COLUMNS

UNCHOSEN = "q9"
"""A candidate of the other run that its filter left out."""


def recorded(folder: Path, chosen: dict[tuple[str, int], Sequence[tuple[str, float | None]]]) -> str:
    """Write a run's allocations: by student and round, ids with scores.

    `q9` was never chosen, and of `q7` the student's own path was.
    """
    rows = [
        {
            "round": round,
            "teacher": TEACHER,
            "student": student,
            "sample_id": id,
            "score": score,
            "chosen": id != UNCHOSEN,
            "source": {UNCHOSEN: None, "q7": "student"}.get(id, "teacher"),
        }
        for (student, round), picks in chosen.items()
        for id, score in [(UNCHOSEN, 9.0), *picks]
    ]
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
    pq.write_table(pa.table(columns, pa.schema(COLUMNS)), folder / "allocations.parquet")
    return str(folder)


def test_a_choice_is_repeated_in_the_order_of_its_scores(tmp_path: Path):
    run = recorded(
        tmp_path,
        {
            (STUDENT, 1): [("q0", 0.1), ("q3", 0.7), ("gone", 0.5), ("q1", None)],
            (STUDENT, 2): [("q2", 1.0)],
            ("other", 1): [("q4", 0.0), ("q1", 0.3)],
        },
    )
    table = [Row()] * 10
    assert choose("recorded", candidates(table), run=run) == [(i, "teacher") for i in (3, 0, 1)]
    assert choose("recorded", candidates(table, round=2), run=run) == [(2, "teacher")]
    swapped = {"instead": {STUDENT: "other"}}
    assert choose("recorded", candidates(table), run=run, **swapped) == [(1, "teacher"), (4, "teacher")]


def test_as_many_are_drawn_at_random(tmp_path: Path):
    run = recorded(tmp_path, {(STUDENT, 1): [("q0", 0.1), ("q3", 0.7), ("gone", 0.5), ("q1", None)]})
    table = [Row()] * 40
    drawn = choose("recorded", candidates(table), run=run, drawn=True)
    assert drawn == choose("recorded", candidates(table), run=run, drawn=True)
    assert len(dict(drawn)) == 3  # `gone` is not at hand
    assert {source for _, source in drawn} == {"teacher"}
    assert set(dict(drawn)) != {0, 1, 3}


def test_where_a_students_own_path_was_chosen_the_own_path_is_studied(tmp_path: Path):
    run = recorded(
        tmp_path, {(STUDENT, 1): [("q7", 0.9), ("q1", 0.1)], ("other", 1): [("q2", 0.2), ("q7", 0.1), ("q8", 0.3)]}
    )
    # Whether the student itself gets it right does not matter: another one may have.
    table = [Row("1", "2", True, False)] * 10
    assert choose("recorded", candidates(table), run=run) == [(7, "student"), (1, "teacher")]
    swapped = choose("recorded", candidates(table), run=run, instead={STUDENT: "other"})
    assert swapped == [(8, "teacher"), (2, "teacher"), (7, "student")]
    drawn = choose("recorded", candidates(table), run=run, instead={STUDENT: "other"}, drawn=True)
    assert [source for _, source in drawn] == ["teacher"] * 3


def test_what_no_run_has_is_refused(tmp_path: Path):
    with pytest.raises(
        InputError, match=r"run is '.*nowhere', which has no allocations.parquet; expected the folder of a finished run"
    ):
        choose("recorded", candidates([Row()]), run=str(tmp_path / "nowhere"))
    run = recorded(tmp_path, {(STUDENT, 1): [("q0", 0.1)]})
    with pytest.raises(InputError, match="has no choice of 'slm' from 'llm' in round 2; expected a run with the same"):
        choose("recorded", candidates([Row()], round=2), run=run)
