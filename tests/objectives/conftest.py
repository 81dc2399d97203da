"""Plug-in objectives are registered for one test alone, so that no other test's index of methods has them."""

from collections.abc import Iterator
from types import ModuleType

import pytest
from own_methods import registered


@pytest.fixture
def plugged() -> Iterator[ModuleType]:
    """Give the plug-ins' module, registered."""
    with registered("plugged") as modules:
        yield modules["plugged"]
