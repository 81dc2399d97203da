"""The worked example of CONTRIBUTING.md, run as it stands there."""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import lada.allocators
from lada.allocators.base import ALLOCATORS
from lada.config import make_config

Blocks = Callable[[Path, str], list[str]]
NAME = "unsure"
MODULE = f"lada.allocators.{NAME}"


@pytest.fixture
def example(root: Path, blocks: Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Lay the example's module beside the other allocators, for this test alone; give the Python blocks."""
    python = blocks(root / "CONTRIBUTING.md", "python")
    ALLOCATORS.names()
    (tmp_path / f"{NAME}.py").write_text(python[0], encoding="utf-8")
    monkeypatch.setattr(lada.allocators, "__path__", [*lada.allocators.__path__, str(tmp_path)])
    monkeypatch.setattr(ALLOCATORS, "_methods", dict(ALLOCATORS._methods))
    monkeypatch.setattr(ALLOCATORS, "_loaded", False)
    yield python
    sys.modules.pop(MODULE, None)
    lada.allocators.__dict__.pop(NAME, None)


@pytest.mark.usefixtures("example")
def test_the_example_is_found_by_the_registry_and_taken_by_the_configuration() -> None:
    assert NAME in ALLOCATORS.names()
    method = ALLOCATORS.get(NAME)
    assert method.summary == "The samples on whose own path the student has the highest loss per byte."
    config = make_config(
        {
            "server": {"model": {"model": "zoo:llm-world-0"}},
            "clients": [{"name": "one", "model": {"model": "zoo:slm-llama"}}],
            "allocator": {"name": NAME, "options": {"budget": 7}},
        }
    )
    assert config.choice(ALLOCATORS).options == {"budget": 7, "above": 0.0}


def test_the_examples_own_tests_pass(example: list[str]) -> None:
    import_module(MODULE)
    module = ModuleType("test_unsure")
    exec(compile(example[1], "CONTRIBUTING.md", "exec"), module.__dict__)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


@pytest.mark.usefixtures("example")
def test_the_examples_row_fits_the_method_index(root: Path, blocks: Blocks) -> None:
    row = blocks(root / "CONTRIBUTING.md", "markdown")[0].strip()
    head = next(line for line in (root / "docs/methods.md").read_text().splitlines() if line.startswith("| name |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    method = ALLOCATORS.get(NAME)
    assert row.count("|") == head.count("|")
    assert cells[:4] == [f"`{NAME}`", method.summary, method.paper, method.status]
