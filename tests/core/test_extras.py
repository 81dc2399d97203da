"""A missing package is one line with its extra, whether it would be imported or only looked for."""

import json
import sys

import pytest

from lada.core.errors import InputError
from lada.core.extras import look_for, needed, require


def test_a_module_that_is_there_is_returned():
    assert require("json", "a test", "hub") is json
    assert require("importlib-metadata", "a test", "hub", module="json.decoder") is json.decoder
    look_for("json", "a test", "hub")


def test_one_that_is_not_is_told_with_reason_and_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "not_here", None)
    with pytest.raises(InputError) as error:
        require("not-here", "key: 'value'", "hub")
    reason = "import of not_here halted; None in sys.modules"
    said = "install it with: pip install 'lada-fed[hub]'"
    assert str(error.value) == f"key: 'value' needs the package not-here ({reason}); {said}"
    with pytest.raises(InputError) as error:
        look_for("not-here", "key: 'value'", "hub")
    assert (
        str(error.value)
        == f"key: 'value' {needed('not-here', 'hub')}"
        == f"key: 'value' needs the package not-here; {said}"
    )
