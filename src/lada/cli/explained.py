"""How commands tell of what went wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from lada.core.errors import LadaError

errors = Console(stderr=True)


@contextmanager
def explained() -> Iterator[None]:
    """Turn LaDa's errors into one message and their exit code, without a traceback."""
    try:
        yield
    except LadaError as error:
        errors.print(f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from None
