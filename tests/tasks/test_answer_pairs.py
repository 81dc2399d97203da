"""Verdicts on answers as models write them, after the forms of real corpora; each line says what is right."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from lada.tasks.answers import answer_kind

MISREAD = {
    "answer_pairs.jsonl": {
        "The fastest is Evelyn",
        "A)10 is too small. B)12 is too small. C)15 is too large. D)13 it is.",
    },
    "answer_pairs_later.jsonl": {
        "She is left with 75 cents, or $0.75.",
        "I have 7 animals: a goat, 2 rabbits and 4 cats.",
        "The argument is invalid.",
    },
}
"""Right answers that are not found."""


def pairs(file):
    found = [json.loads(line) for line in (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines()]
    return [pair for pair in found if pair["kind"] != "latex" or find_spec("math_verify")]


def verdict(pair):
    kind = answer_kind(pair["kind"])
    return kind.same(kind.extract(pair["text"]), pair["gold"])


@pytest.mark.parametrize("file", MISREAD)
def test_no_wrong_answer_passes_and_right_ones_are_found(file):
    read = [(pair, verdict(pair)) for pair in pairs(file)]
    assert [pair for pair, said in read if said and not pair["right"]] == []
    missed = {pair["text"] for pair, said in read if pair["right"] and not said}
    assert missed <= MISREAD[file]
    assert len(missed) <= 0.03 * len(read)


def test_the_table_is_large_and_has_traps():
    found = pairs("answer_pairs.jsonl") + pairs("answer_pairs_later.jsonl")
    assert len(found) >= 400
    assert len({pair["corpus"] for pair in found}) >= 10
    assert sum(not pair["right"] for pair in found) >= 0.3 * len(found)


@pytest.mark.parametrize("file", MISREAD)
def test_every_gold_answer_can_be_read(file):
    assert [pair for pair in pairs(file) if not answer_kind(pair["kind"]).reads(pair["gold"])] == []
