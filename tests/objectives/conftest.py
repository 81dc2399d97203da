"""Plug-in objectives are registered for one test alone, so that no other test's index of methods has them."""

from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from lada.objectives.base import OBJECTIVES

PLUGGED = Path(__file__).with_name("plugged.py")


@pytest.fixture
def plugged() -> Iterator[ModuleType]:
    """Give the plug-ins' module, registered."""
    OBJECTIVES.names()
    before = dict(OBJECTIVES._methods)
    spec = spec_from_file_location("plugged_objectives", PLUGGED)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        OBJECTIVES._methods.clear()
        OBJECTIVES._methods.update(before)
