"""Every number that a command takes has a range, and what is no number of it is refused with exit code 2."""

from collections.abc import Iterator

import click
import pytest
from typer.main import get_command

from lada.cli.chat import _is_temperature
from lada.cli.main import app


def numbers(command: click.Command) -> Iterator[tuple[click.Command, click.Parameter]]:
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        yield from numbers(below)
    for option in command.params:
        if isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType)):
            yield command, option


FOUND = list(numbers(get_command(app)))


def test_they_are_found():
    assert {option.name for _, option in FOUND} >= {
        "temperature",
        "count",
        "parallel",
        "check",
        "days",
        "port",
        "world",
    }


@pytest.mark.parametrize(("command", "option"), FOUND, ids=lambda each: each.name)
@pytest.mark.parametrize("value", ["9" * 401, "-" + "9" * 401, "1" + "0" * 30, "nan", "inf", "-inf", "1e308", "1e-320"])
def test_absurd_ones_are_refused(command: click.Command, option: click.Parameter, value: str):
    with pytest.raises(click.BadParameter):
        option.process_value(click.Context(command), value)


@pytest.mark.parametrize("value", [0.0, 1e-30, 0.7, 1000.0])
def test_temperatures_are_taken(value: float):
    assert _is_temperature(value) == value
