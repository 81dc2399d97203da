"""Nouns follow their number, also in what commands print."""

import pytest

from lada.core.plural import counted, plural
from lada.core.results import StudyRecord


@pytest.mark.parametrize(
    ("number", "noun", "many", "told"),
    [
        (0, "round", "", "0 rounds"),
        (1, "round", "", "1 round"),
        (2, "round", "", "2 rounds"),
        (1, "reply", "replies", "1 reply"),
        (3, "reply", "replies", "3 replies"),
        (1, "public sample", "", "1 public sample"),
    ],
)
def test_counted(number: int, noun: str, many: str, told: str):
    assert counted(number, noun, many) == told
    assert f"{number} {plural(number, noun, many)}" == told


def test_a_study_of_one_step():
    row = StudyRecord(party="c", round=0, phase="p", steps=1, lessons=1, pairs=0, replayed=0, tokens=1,
                      first_loss=1.0, last_loss=1.0, skipped=1, cut=1)  # fmt: skip
    told = str(row.faults())
    assert "1 of 1 step skipped" in told
    assert "1 of 1 lesson cut" in told
