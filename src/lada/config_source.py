"""Reads a configuration from any form: a file, plain data, or one that is already open."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lada.config import RunConfig, make_config
from lada.core.errors import InputError
from lada.core.paths import is_file, is_folder


def read_config(file: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Read a YAML or JSON file and apply `key.path=value` overrides; values are YAML. Raises InputError for any
    fault."""
    return make_config(read_data(file), overrides)


def read_data(file: Path) -> Any:
    """Return the content of a YAML or JSON file as plain data. Raises InputError if the file cannot be read."""
    if is_folder(file):
        raise InputError(f"configuration: {str(file)!r} is a folder; give the path of a YAML file")
    if not is_file(file):
        raise InputError(f"configuration: file {str(file)!r} does not exist; give the path of a YAML file")
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        told = " ".join(str(error).split())
        raise InputError(f"configuration: {str(file)!r} is not valid YAML: {told}") from None
    if data is None:
        raise InputError(f"configuration: {str(file)!r} is empty; `lada examples show demo` prints a valid one")
    return data


class Opened(NamedTuple):
    """A resolved configuration, and the folder at which its relative paths start."""

    config: RunConfig
    base: Path


Source = Opened | RunConfig | Mapping[str, Any] | str | Path
"""Any form of a configuration."""


def open_config(config: Source, overrides: tuple[str, ...] = ()) -> Opened:
    """Return a resolved configuration from any form; one that is already open is returned unchanged.

    Relative paths start at the folder of a file, else at the working directory. Raises InputError for any fault.
    """
    if isinstance(config, Opened):
        return config
    if isinstance(config, (str, Path)):
        return Opened(read_config(Path(config), overrides), Path(config).resolve().parent)
    if isinstance(config, RunConfig):
        config = config.model_dump(mode="json")
    return Opened(make_config(config, overrides), Path.cwd())
