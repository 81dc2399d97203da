"""Usage errors. They repeat what was typed, so control characters in it must not reach the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from typer.core import TyperGroup

from lada.core.shown import shown


class PlainGroup(TyperGroup):
    """A group of commands whose usage errors, and those of its commands, spell control characters out."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        super().__init__(*args, **extra | {"suggest_commands": False})  # click itself names the nearest command

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """See click.Command.make_context; this reads the options in front of a command's name."""
        with _spelled_out():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Group.invoke; this finds the command and reads the arguments after its name."""
        with _spelled_out():
            return super().invoke(ctx)


@contextmanager
def _spelled_out() -> Iterator[None]:
    try:
        yield
    except click.ClickException as error:
        text = shown(error.format_message())
        error.format_message = lambda: text  # changed in place, since its class and context decide how it is shown
        raise
