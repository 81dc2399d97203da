"""How commands tell of what went wrong."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from lada.cli.console import errors
from lada.core.errors import LadaError


@contextmanager
def explained(then: Callable[[], str] = str) -> Iterator[None]:
    """Turn LaDa's errors into one message, with what `then` has to say behind it, and their exit code; no traceback."""
    try:
        yield
    except LadaError as error:
        errors.print(f"error: {error}", style="bold red", highlight=False, soft_wrap=True)
        if more := then():
            errors.print(more, style="bold", highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from None
