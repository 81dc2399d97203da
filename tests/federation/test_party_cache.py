"""What a process keeps of the parties that worked in it: several of tiny models, one of a large one."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lada.federation import party_cache
from lada.federation.parties import Place


@pytest.fixture(autouse=True)
def _nothing_held() -> Iterator[None]:
    party_cache.forget()
    yield
    party_cache.forget()


def worked(tmp_path: Path, *parties: tuple[str, int]) -> list[str]:
    """Let parties work, given their names and the bytes of their weights; return who had to be opened."""
    place, opened = Place(tmp_path, tmp_path, 0.0), []

    def open(name: str, size: int) -> Any:
        opened.append(name)
        model = torch.nn.Linear(size // 4, 1, bias=False, device="meta")
        return SimpleNamespace(learner=SimpleNamespace(model=model))

    for name, size in parties:
        with party_cache.party(place, name, lambda name=name, size=size: open(name, size)):
            pass
    return opened


def test_tiny_models_stay_loaded(tmp_path: Path):
    assert worked(tmp_path, ("a", 4), ("b", 4), ("c", 4), ("a", 4), ("b", 4), ("c", 4)) == ["a", "b", "c"]


def test_a_large_model_is_alone(tmp_path: Path):
    large = party_cache.ROOM + 4
    assert worked(tmp_path, ("a", large), ("a", large), ("b", large), ("a", large)) == ["a", "b", "a"]


def test_those_go_first_that_worked_longest_ago(tmp_path: Path):
    most = 3 * party_cache.ROOM // 4
    order = ("a", "b", "c", "b", "a", "b", "c")
    assert worked(tmp_path, *((name, most) for name in order)) == ["a", "b", "c", "a", "c"]


def test_no_more_than_a_few_stay(tmp_path: Path):
    names = [(str(number), 4) for number in range(party_cache.MOST + 1)]
    assert worked(tmp_path, *names, names[0]) == [*(name for name, _ in names), "0"]


def test_who_was_left_by_an_exception_is_opened_again(tmp_path: Path):
    assert worked(tmp_path, ("a", 4)) == ["a"]
    place = Place(tmp_path, tmp_path, 0.0)
    with pytest.raises(ValueError, match="broken"), party_cache.party(place, "a", pytest.fail):
        raise ValueError("broken")
    assert not party_cache.holds(place, "a")
