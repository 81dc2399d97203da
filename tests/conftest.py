import gc
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

# Before PyTorch is imported: two workers of pytest with as many threads each as there are cores wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("lada", deadline=None, max_examples=25)  # a machine that does other things beside is no fault
settings.load_profile("lada")
gc.disable()  # while modules are imported; their half a million objects are no garbage, and looked through for seconds


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of few tests, which take the longest each: two workers then end at about the same time."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: tests[item.path])


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


@pytest.fixture(autouse=True, scope="session")
def _tried_once() -> Iterator[None]:
    """Try, check and read each shipped model once: tests load the same few models a thousand times."""
    if "lada.models.learner" not in sys.modules:  # and take no seconds to import it where no test does
        yield
        return
    from tried import once

    with once():
        yield


@pytest.fixture
def _warm_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes descend from one that has imported what they need."""
    import warm

    if warm.FORKS:
        instead = SimpleNamespace(Popen=warm.popen, TimeoutExpired=subprocess.TimeoutExpired)
        monkeypatch.setattr("lada.federation.fork_server.subprocess", instead)


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
