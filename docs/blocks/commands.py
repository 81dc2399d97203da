"""Every command of `lada` with its arguments and options, from the program itself."""

from collections.abc import Iterator
from typing import Any, get_type_hints

import typer

from lada.cli.main import app


def commands() -> str:
    """Return one section per command."""
    found = each(typer.main.get_command(app), ("lada",))
    return "\n\n".join(part for names, command in found for part in _section(names, command))


def each(command: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command at or below `command` that does something, with the words that call it."""
    if not hasattr(command, "commands"):
        yield names, command
        return
    for name, inner in command.commands.items():
        yield from each(inner, (*names, name))


def meanings(command: Any) -> dict[str, str]:
    """Return what each argument and option of a command means, by name; "" where nothing is said.

    It is read where it was written: click 8.5 forgets the help of typer's arguments.
    """
    hints = get_type_hints(command.callback, include_extras=True)
    told = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return {name: next((info.help or "" for info in infos), "") for name, infos in told.items()}


def _section(names: tuple[str, ...], command: Any) -> Iterator[str]:
    context = command.make_context(names[-1], [], resilient_parsing=True)
    yield f"## `{' '.join(names)}` {{ #{'-'.join(names)} }}"
    yield command.help or ""
    yield f"```text\n{' '.join([*names, *command.collect_usage_pieces(context)])}\n```"
    helps = meanings(command)
    rows = [_row(parameter, context, helps[parameter.name]) for parameter in command.params if parameter.name != "help"]
    if rows:
        yield "\n".join(["| argument or option | default | meaning |", "|---|---|---|", *rows])


def _row(parameter: Any, context: Any, meaning: str) -> str:
    is_option = parameter.param_type_name == "option"
    name = parameter.make_metavar(context)
    if is_option:
        flags = ", ".join((*parameter.opts, *parameter.secondary_opts))
        name = flags if getattr(parameter, "is_flag", False) else f"{flags} {name}"
    default = "*needed*" if parameter.required else "–"
    if parameter.default not in (None, [], (), ...):
        default = f"`{parameter.default}`"
    if is_option and parameter.multiple:
        meaning += " May be given several times."
    return f"| `{name}` | {default} | {meaning} |"
