"""The option `--plugin`, for commands that use methods."""

from pathlib import Path
from typing import Annotated

import typer

from lada.cli.explained import explained

Plugins = Annotated[
    list[Path],
    typer.Option("--plugin", metavar="FILE", help="A Python file that defines methods of your own; repeatable."),
]


def add(plugins: list[Path]) -> None:
    """Import the files of --plugin, which registers their methods."""
    from lada.core.plugins import add_plugins

    with explained():
        add_plugins(plugins)
