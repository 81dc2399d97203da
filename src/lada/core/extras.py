"""Packages that an extra of LaDa installs: imported, or only looked for, on behalf of the code that needs them.

`package` is what pip calls the package, `module` what Python does; by default the same, with underscores.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lada.core.distribution import install_command
from lada.core.errors import InputError


def require(package: str, who: str, extra: str, *, module: str = "") -> Any:
    """Import and return a module. Raises InputError with the reason and the install line where that fails."""
    try:
        return import_module(module or _module(package))
    except ImportError as error:
        raise InputError(f"{who} {needed(f'{package} ({error})', extra)}") from error


def look_for(package: str, who: str, extra: str) -> None:
    """Raise InputError with the install line where a package is missing; nothing is imported."""
    if find_spec(_module(package)) is None:
        raise InputError(f"{who} {needed(package, extra)}")


def needed(package: str, extra: str) -> str:
    """Return what a missing package is said to be: needed, with its install line."""
    return f"needs the package {package}; install it with: {install_command(extra)}"


def _module(package: str) -> str:
    return package.replace("-", "_")
