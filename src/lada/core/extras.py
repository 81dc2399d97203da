"""Packages that an extra of LaDa installs, imported where they are needed."""

from importlib import import_module
from typing import Any

from lada.core.distribution import install_command
from lada.core.errors import InputError


def require(module: str, who: str, extra: str) -> Any:
    """Import and return a module on behalf of `who`. Raises InputError with the install line where that fails."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"{who} needs a package that cannot be imported ({error}); install it with: {install_command(extra)}"
        ) from error
