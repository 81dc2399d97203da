import gc
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Before PyTorch is imported: two workers of pytest with as many threads each as there are cores wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("lada", deadline=None, max_examples=50)  # a machine that does other things beside is no fault
settings.load_profile("lada")
gc.disable()  # while modules are imported; their half a million objects are no garbage, and looked through for seconds


def pytest_collection_finish() -> None:
    """Collect the tests' garbage, and leave out what was imported."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _unsynced() -> Iterator[None]:
    """Wait for no disk: of a power cut no test can tell, and a small run syncs five hundred files and folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


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
