"""Nouns follow their number, also in what commands print."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lada.aggregators.coordinates import check_least
from lada.alignment.spans import align_spans
from lada.allocators.base import no_look
from lada.audit.canaries import make_canary
from lada.codecs import soft_targets, tensors
from lada.core.errors import LadaError
from lada.core.plural import counted, plural
from lada.core.results import StudyRecord
from lada.export.check import Check
from lada.models.base import StudyReport
from lada.rounds.secure import check_enough
from lada.rounds.steps import check_study


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


ONE: list[tuple[str, Callable[[], object]]] = [
    ("x: 1 character without spaces;", lambda: make_canary("x", "a")),
    ("the allocator needs 1 token per position", lambda: no_look(1)),
    ("x: 1 byte; expected at most 0", lambda: tensors.read(b"x", "x", 0)),
    ("soft-targets: 1 token per row of a vocabulary of 0", lambda: soft_targets._check_sizes(1, 0, 1)),
    ("1 client in a round; expected", lambda: check_enough(1)),
    ("needs 3 clients against 1 malicious one, but there is 1;", lambda: check_least("trimmed_mean", 3, 1, 1)),
    ("offsets: 1 source text, but 0 target texts;", lambda: align_spans([np.zeros((1, 2), np.int32)], [])),
    ("1 of 1 step was skipped, since its loss", lambda: check_study("a", 1, "p", study(steps=1, skipped=1))),
    ("1 of 3 steps was skipped, since its loss", lambda: check_study("a", 1, "p", study(steps=3, skipped=1))),
    ("3 of 3 steps were skipped, since their loss", lambda: check_study("a", 1, "p", study(steps=3, skipped=3))),
]


def study(**changes: Any) -> StudyReport:
    return StudyReport(lessons=1, pairs=0, soft=0, tokens=1, first_loss=1.0, last_loss=1.0, **changes)


@pytest.mark.parametrize(("told", "ask"), ONE)
def test_errors_give_one_thing_no_plural(told: str, ask: Callable[[], object]):
    with pytest.raises((LadaError, LookupError)) as caught:
        ask()
    assert told in str(caught.value)


def test_figures_of_an_export_do_not_either():
    one = Check("x", "texts", total=1, same=1, difference=0.0, as_trained=1, tokenised=1, asked=1)
    assert [line.partition(";")[0] for line in one.lines()] == [
        "1 of 1 greedy text of x is that of PyTorch with the same weights",
        "1 of 1 text is that of the party before merging and rounding",
        "1 of 1 question becomes the party's own token ids",
    ]


def test_a_study_of_one_step():
    row = StudyRecord(party="c", round=0, phase="p", steps=1, lessons=1, pairs=0, replayed=0, tokens=1,
                      first_loss=1.0, last_loss=1.0, skipped=1, cut=1)  # fmt: skip
    told = str(row.faults())
    assert "1 of 1 step skipped" in told
    assert "1 of 1 lesson cut" in told
