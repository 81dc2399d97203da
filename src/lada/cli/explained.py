"""How commands tell of what went wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from lada.cli.console import errors
from lada.core.errors import LadaError


@contextmanager
def explained() -> Iterator[None]:
    """Turn LaDa's errors into one message and their exit code, without a traceback."""
    try:
        yield
    except LadaError as error:
        errors.print(f"error: {error}", style="bold red", highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from None
