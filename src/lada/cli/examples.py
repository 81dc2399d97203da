"""`lada examples`: configurations to start from."""

import sys
from typing import Annotated

import typer
from rich.table import Column, Table

from lada.cli.explained import explained
from lada.core.console import console
from lada.core.errors import InputError, nearest
from lada.examples import texts

app = typer.Typer(no_args_is_help=True, help="Configurations to start from.")


@app.command("list")
def list_() -> None:
    """List the examples, each with a description."""
    table = Table(Column("name", no_wrap=True), "what it is")
    for name, text in texts().items():
        table.add_row(name, text.partition("\n")[0].removeprefix("# "))
    console.print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(help="A name from `lada examples list`.")]) -> None:
    """Print an example, to copy into a file of your own."""
    with explained():
        known = texts()
        if name not in known:
            raise InputError(
                f"examples: unknown name {name!r}; expected one of {', '.join(known)}{nearest(name, known)}"
            )
        sys.stdout.write(known[name])
