import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def blocks() -> Callable[[Path, str], list[str]]:
    """Give the fenced blocks of one language in a page."""

    def read(page: Path, language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

    return read
