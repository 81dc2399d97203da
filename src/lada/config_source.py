"""A configuration from whatever form it comes in: a file, plain data, or one that was opened before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lada.config import RunConfig, make_config
from lada.core.errors import InputError
from lada.core.paths import is_file


def read_config(file: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Read a YAML or JSON file and apply `key.path=value` overrides; values are YAML. InputError names any fault."""
    return make_config(read_data(file), overrides)


def read_data(file: Path) -> Any:
    """Return what a YAML or JSON file holds, as plain data. Raises InputError for a file that cannot be read so."""
    if not is_file(file):
        raise InputError(f"configuration: file {str(file)!r} does not exist; give the path of a YAML file")
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"configuration: {str(file)!r} is not valid YAML: {error}") from None


class Opened(NamedTuple):
    """A resolved configuration, and the folder that relative paths in it start at."""

    config: RunConfig
    base: Path


Source = Opened | RunConfig | Mapping[str, Any] | str | Path
"""Whatever a configuration may be given as."""


def open_config(config: Source, overrides: tuple[str, ...] = ()) -> Opened:
    """Return a resolved configuration from whatever form it has; one that is opened already is returned as it is.

    Relative paths start at the folder of a file, else at the working directory. InputError names any fault.
    """
    if isinstance(config, Opened):
        return config
    if isinstance(config, (str, Path)):
        return Opened(read_config(Path(config), overrides), Path(config).resolve().parent)
    if isinstance(config, RunConfig):
        config = config.model_dump(mode="json")
    return Opened(make_config(config, overrides), Path.cwd())
