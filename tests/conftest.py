import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("lada", deadline=None)  # a machine that does other things beside is no fault
settings.load_profile("lada")


@pytest.fixture
def root() -> Path:
    """Give the top folder of the checkout."""
    return Path(__file__).parents[1]


@pytest.fixture
def blocks() -> Callable[[Path, str], list[str]]:
    """Give the fenced blocks of one language in a page."""

    def read(page: Path, language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

    return read
