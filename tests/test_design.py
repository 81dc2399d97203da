"""The page on the design is so: its layers, its points, and the way of a question through a run."""

import re
import sys
import threading
import tomllib
from pathlib import Path
from types import FrameType

import pytest
from tiny_run import tiny

import lada
from lada.points import POINTS

HOME = Path(lada.__file__).parent
Calls = list[tuple[str, str]]
LAYERS = "| packages and modules of `lada`, from the top layer | what they are for |"


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs/design.md").read_text(encoding="utf-8")


def cells(page: str, head: str) -> list[list[str]]:
    """Return the rows of the table that has this head."""
    lines = page.partition(f"{head}\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_layers_are_those_that_are_checked(page: str, root: Path) -> None:
    tools = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    (contract,) = (each for each in tools["importlinter"]["contracts"] if each["type"] == "layers")
    checked = [set(layer.replace("lada.", "").split(" | ")) for layer in contract["layers"]]
    assert [set(re.findall(r"`(\w+)`", packages)) for packages, _ in cells(page, LAYERS)] == checked


def test_points_are_those_of_the_registry(page: str) -> None:
    told = {row[0]: row[2:] for row in cells(page, "| point | what it decides | runs at | state belongs to | key |")}
    assert told == {
        f"`{kind}`": [
            point.side,
            point.scope,
            f"`{point.key}`{', a list' if point.several else ''}" if point.key else "–",
        ]
        for kind, point in POINTS.items()
    }


def calls_of_a_run(folder: Path) -> Calls:
    """Return which functions of the package a small run of fedmkt calls, by file, in order."""
    found: Calls = []
    files: dict[str, str | None] = {}

    def note(frame: FrameType, _event: str, _: object) -> None:  # of calls alone, since it traces no lines
        code = frame.f_code
        if code.co_filename not in files:
            place = Path(code.co_filename)
            files[code.co_filename] = place.relative_to(HOME).as_posix() if place.is_relative_to(HOME) else None
        if (file := files[code.co_filename]) is not None:
            found.append((file, code.co_name))

    before = sys.gettrace()
    threading.settrace(note)
    sys.settrace(note)
    try:
        lada.run(tiny(), runs=folder)
    finally:
        sys.settrace(before)
        threading.settrace(before)  # pyright: ignore[reportArgumentType]
    return found


def goes(way: list[tuple[str, str | None]], calls: Calls) -> int:
    """Return how many steps of a way the calls go through in order; a step without a function is any of its file."""
    done = 0
    for file, function in calls:
        if done < len(way) and (file, function if way[done][1] else None) == way[done]:
            done += 1
    return done


def test_a_question_goes_the_way_that_is_told(page: str, tmp_path: Path) -> None:
    rows = cells(page, "| | file | what happens there |")
    way = [(file.strip("`"), found[1] if (found := re.match(r"`(\w+)`", what)) else None) for _, file, what in rows]
    assert [number for number, *_ in rows] == [str(n) for n in range(1, len(rows) + 1)]
    assert len(way) <= 12
    calls = calls_of_a_run(tmp_path)
    assert goes(way, calls) == len(way)
    assert goes(way[::-1], calls) < len(way)  # in any order would be no way


def test_the_readme_lists_every_point_and_its_methods(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    rows = cells(readme, "| kind of method | the question it answers | members |")
    assert {kind for kind, *_ in rows} == set(POINTS)
    for kind, _, members in rows:
        named = set(re.findall(r"`(\w+)`", members))
        assert named <= set(POINTS[kind].registry.names()), kind
        assert named == set(POINTS[kind].registry.names()) or members.endswith("and others"), kind
