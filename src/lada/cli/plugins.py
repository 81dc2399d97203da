"""The option `--plugin` of commands that use methods."""

from pathlib import Path
from typing import Annotated

import typer

Plugins = Annotated[
    list[Path],
    typer.Option("--plugin", metavar="FILE", help="A Python file with methods of your own."),
]
