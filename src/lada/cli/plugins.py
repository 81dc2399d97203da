"""The option `--plugin` of commands that use methods."""

from pathlib import Path
from typing import Annotated

import typer

from lada.cli.explained import explained

Plugins = Annotated[
    list[Path],
    typer.Option("--plugin", metavar="FILE", help="A Python file with methods of your own."),
]


def add(plugins: list[Path]) -> None:
    """Import the files of --plugin, whose methods then register themselves."""
    from lada.core.plugins import add_plugins

    with explained():
        add_plugins(plugins)
