"""Pages and docstrings name modules, files and folders that exist."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import lada

HOME = Path(lada.__file__).parent
DOTTED = re.compile(r"(?<![\w./@-])lada(?:\.[A-Za-z_]\w*)+")
FILE = re.compile(r"(?<![\w./-])[\w-]+(?:/[\w-]+)*\.py\b")
FOLDER = re.compile(r"`((?:[\w-]+/)+[\w-]*)`")
OTHERS = {"lada.plugins", "lada.worker", "lada.server"}
"""A group of entry points, and names under which processes log."""


def exists(name: str) -> bool:
    """Return whether a dotted name is a module of the package or something that one defines."""
    parts = name.split(".")
    modules = [n for n in range(1, len(parts) + 1) if is_module(HOME.joinpath(*parts[1:n]))]
    found = import_module(".".join(parts[: modules[-1]]))
    for part in parts[modules[-1] :]:
        if not hasattr(found, part):
            return part in getattr(found, "__dataclass_fields__", getattr(found, "__annotations__", {}))
        found = getattr(found, part)
    return True


def is_module(place: Path) -> bool:
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def wrong(text: str, root: Path) -> Iterator[str]:
    """Yield the names in a text that are missing from the repository."""
    yield from (name for name in DOTTED.findall(text) if name not in OTHERS and not exists(name))
    places = (root, HOME, root / "tests", root / "docs")
    for file in FILE.findall(text):
        there = any((place / file).exists() for place in places) or any(root.glob(f"tests/*/{file}"))
        if ("/" in file or file.startswith("test_")) and not there:
            yield file
    folders = {folder.name for place in (root, HOME) for folder in place.iterdir() if folder.is_dir()}
    for folder in FOLDER.findall(text):
        there = any((place / folder).exists() or is_module(place / folder) for place in places)
        if folder.partition("/")[0] in folders - {"runs", "build", "results"} and not there:  # which commands write
            yield folder


def docstrings(code: str) -> str:
    """Return all that a module says in strings that are statements: docstrings, those of fields too."""
    found = (node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Expr))
    return "\n".join(str(node.value) for node in found if isinstance(node, ast.Constant))


def test_pages_name_what_exists(root: Path) -> None:
    example = {"lada.allocators.unsure", "src/lada/allocators/unsure.py", "tests/allocators/test_unsure.py"}
    pages = [root / "README.md", root / "CONTRIBUTING.md", *root.glob("docs/*.md"), *root.glob("results/*/README.md")]
    assert len(pages) > 40
    found = {(page.name, name) for page in pages for name in wrong(page.read_text(encoding="utf-8"), root)}
    assert found == {("CONTRIBUTING.md", name) for name in example}  # which its reader writes


def test_docstrings_name_what_exists(root: Path) -> None:
    files = [*HOME.rglob("*.py"), *root.glob("benchmarks/*.py"), *root.glob("docs/**/*.py")]
    texts = {file: docstrings(file.read_text(encoding="utf-8")) for file in files}
    assert sum(len(DOTTED.findall(text)) for text in texts.values()) > 50
    assert [(file.name, name) for file, text in texts.items() for name in wrong(text, root)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see lada.rounds.base.Step.side, `rounds/base.py` and `hosts/catalogue`; runs/demo/x", []),
        ("lada.rounds.nowhere, lada.rounds.base.Stepp", ["lada.rounds.nowhere", "lada.rounds.base.Stepp"]),
        ("`hosts/gain.py`, `test_nothing.py`, `hosts/index/`", ["hosts/gain.py", "test_nothing.py", "hosts/index/"]),
        ("lada.yaml in my.lada.y and user@lada.org", ["lada.yaml"]),
    ],
)
def test_what_does_not_exist_is_found(text: str, expected: list[str], root: Path) -> None:
    assert list(wrong(text, root)) == expected
