"""What was found out of a model is believed for exactly what it was found out of, and for nothing else."""

import json
import os
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lada.core.errors import InputError
from lada.core.results import Record
from lada.planning import kept
from lada.planning.kept import PACKAGES, SHIPPED, digest_of, keep, versions

DEPENDS = {"model": "m", "options": {"rank": 8}}


class Size(Record):
    """What is found."""

    number: int


class Other(Record):
    """The same, of another kind."""

    number: int


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LADA_CACHE", str(tmp_path))
    return tmp_path / "shapes"


class Finder:
    """Finds a number, and counts how often it was asked."""

    def __init__(self, number: int) -> None:
        self.number, self.asked = number, 0

    def __call__(self) -> Size:
        self.asked += 1
        return Size(number=self.number)


def file_of(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_it_is_found_out_once(folder: Path):
    find = Finder(7)
    assert [keep(Size, DEPENDS, find).number for _ in range(3)] == [7, 7, 7]
    assert find.asked == 1
    assert len(list(folder.iterdir())) == 1  # and nothing half-written


@pytest.mark.parametrize("depends", [{}, DEPENDS | {"model": "n"}, {"model": "m", "options": {"rank": 9}}])
def test_what_depends_on_something_else_is_something_else(depends: dict[str, Any]):
    keep(Size, DEPENDS, Finder(7))
    assert keep(Size, depends, Finder(8)).number == 8


def test_so_is_what_is_of_another_kind_or_found_by_other_code(monkeypatch: pytest.MonkeyPatch):
    keep(Size, DEPENDS, Finder(7))
    assert keep(Other, DEPENDS, lambda: Other(number=8)).number == 8
    monkeypatch.setattr(kept, "_sources", lambda: "other")
    assert keep(Size, DEPENDS, Finder(9)).number == 9
    for package in (*PACKAGES, *kept.READERS):
        told = {name: "1.0" if name == package else text for name, text in versions((*PACKAGES, *kept.READERS)).items()}
        monkeypatch.setattr(kept, "versions", lambda names, told=told: {name: told[name] for name in names})
        assert keep(Size, DEPENDS, Finder(10)).number == 10
        monkeypatch.undo()


def test_an_error_is_not_kept():
    def fail() -> Size:
        raise InputError("no")

    with pytest.raises(InputError):
        keep(Size, DEPENDS, fail)
    assert keep(Size, DEPENDS, Finder(7)).number == 7


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.data())
def test_a_damaged_file_is_as_none(folder: Path, data: st.DataObject):
    keep(Size, DEPENDS, Finder(7))
    file = file_of(folder)
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    file.write_bytes(data.draw(st.sampled_from([whole[:place] + bytes([other]) + whole[place + 1 :], whole[:place]])))
    assert keep(Size, DEPENDS, Finder(8)).number == 8
    assert keep(Size, DEPENDS, Finder(9)).number == 8  # it was replaced
    file.unlink()


def test_another_file_under_its_name_is_as_none(folder: Path):
    keep(Size, DEPENDS, Finder(7))
    right = file_of(folder)
    keep(Size, {"model": "n"}, Finder(8))
    (wrong,) = set(folder.iterdir()) - {right}
    right.write_bytes(wrong.read_bytes())
    assert keep(Size, DEPENDS, Finder(9)).number == 9
    right.write_text('{"number": 6}', encoding="utf-8")
    assert keep(Size, DEPENDS, Finder(9)).number == 9
    right.write_bytes(b"x" * 2**20)
    assert keep(Size, DEPENDS, Finder(9)).number == 9


def test_what_is_no_file_is_as_none(folder: Path):
    keep(Size, DEPENDS, Finder(7))
    file = file_of(folder)
    file.unlink()
    os.mkfifo(file)
    assert keep(Size, DEPENDS, Finder(8)).number == 8
    file.unlink()
    file.mkdir()
    assert keep(Size, DEPENDS, Finder(9)).number == 9
    assert [each.name for each in folder.iterdir()] == [file.name]


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("LADA_CACHE", str(tmp_path / "file"))
    find = Finder(7)
    assert [keep(Size, DEPENDS, find).number for _ in range(2)] == [7, 7]
    assert find.asked == 2


def test_what_is_shipped_is_not_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept, "_shipped", lambda: {digest_of(Size, DEPENDS): {"number": 5}})
    assert keep(Size, DEPENDS, Finder(7)).number == 5
    monkeypatch.setattr(kept, "_shipped", lambda: {digest_of(Size, DEPENDS): {"number": "five", "more": 1}})
    assert keep(Size, DEPENDS, Finder(7)).number == 7


SHAPES = runpy.run_path("benchmarks/shapes.py")
FEW = [example for example in SHAPES["EXAMPLES"] if Path(example).stem == "demo"]


@pytest.mark.parametrize(
    ("examples", "dtypes"),
    [
        (FEW, ["float32"]),
        pytest.param(SHAPES["EXAMPLES"], SHAPES["DTYPES"], marks=pytest.mark.slow),
    ],
)
def test_what_is_shipped_is_what_is_found(examples: list[str], dtypes: list[str]):
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    if shipped["versions"] != versions(PACKAGES):
        pytest.skip(f"it is for other versions: {shipped['versions']}")
    found = SHAPES["found"](examples, dtypes)
    assert len(found) > 5
    told = {digest: shipped["found"].get(digest) for digest in found}
    assert told == found, "call `make shapes`, and commit what it writes"
    assert examples == FEW or set(found) == set(shipped["found"])


def test_what_is_shipped_is_for_the_versions_that_are_tested():
    pins = dict(line.split("==") for line in Path("constraints.txt").read_text("utf-8").lower().split() if "==" in line)
    assert json.loads(SHIPPED.read_text(encoding="utf-8"))["versions"] == {name: pins[name] for name in PACKAGES}
