"""Methods from outside the package: installed ones by entry point, files by the environment variable LADA_PLUGINS."""

import os
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from lada.core.errors import InputError
from lada.core.paths import is_file

GROUP = "lada.plugins"
"""Entry points of this group name modules that register their methods on import."""
VARIABLE = "LADA_PLUGINS"
"""Python files with methods, separated as in PATH. Child processes of a run read it too."""


def add_plugins(files: Iterable[Path]) -> None:
    """Make this process and its children load methods from files. Raises InputError for a file that is not Python."""
    named = [file.resolve() for file in files]
    for file in named:
        if file.suffix != ".py" or not is_file(file):
            what = "is not a Python file" if is_file(file) else "does not exist"
            raise InputError(f"plugin: {str(file)!r} {what}; expected the path of a .py file with a method")
    known = [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*known, *map(str, named)]))


@cache
def load_plugins() -> None:
    """Import all plug-ins, once. Raises InputError, naming the plug-in, if one cannot be imported."""
    from importlib.metadata import entry_points  # here, since a command that needs no method does not need it

    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:
            raise InputError(
                f"plugin: entry point {point.name!r} ({point.value}) cannot be imported: {_told(error)}; fix or "
                "uninstall the package"
            ) from error
    for file in os.environ.get(VARIABLE, "").split(os.pathsep):
        if file:
            _import(Path(file))


def _import(file: Path) -> None:
    name = f"lada_plugin_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not is_file(file):
        raise InputError(f"plugin: {str(file)!r} is not an existing Python file; correct {VARIABLE} or --plugin")
    sys.modules[name] = module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"plugin: {str(file)!r} cannot be imported: {_told(error)}; fix the file") from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
