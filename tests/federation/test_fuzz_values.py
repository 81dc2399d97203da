"""Absurd replies are refused or harmless all the way to the report. `make fuzz` sends a hundred thousand."""

import random
from pathlib import Path

import pytest
from drive import clean, drive
from values import mutate
from worlds import Gate, World, wire, worlds


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> list[World]:
    return worlds(tmp_path_factory.mktemp("worlds"))


def test_what_is_honest_is_accepted_and_goes_the_whole_way(known: list[World], tmp_path: Path):
    gate = Gate(tmp_path / "gate")
    sent = [(world, key) for world in known for key in world.sent if key[2] == "a"]
    assert len(sent) > 100
    for world, key in sent:
        assert drive(gate, world, key, wire(key, world.sent[key]), tmp_path / "case") == "accepted"
        clean(tmp_path / "case")


def test_absurd_values_are_refused_or_harmless(known: list[World], tmp_path: Path):
    gate, outcomes = Gate(tmp_path / "gate"), []
    for number in range(2**33, 2**33 + 200):
        outcomes.append(drive(gate, *mutate(random.Random(number), known), tmp_path / "case"))
        clean(tmp_path / "case")
    assert 80 < outcomes.count("refused") < 180
    assert outcomes.count("accepted") > 20
