"""The list of commands: what a user meets first stands first."""

from typer.main import get_command
from typer.testing import CliRunner

from lada.cli.main import PANELS, app


def test_help_lists_every_command_once_in_the_order_in_which_a_user_meets_them():
    told = CliRunner().invoke(app, ["--help"]).output
    names = [name for commands in PANELS.values() for name in commands]
    assert names[:2] == ["demo", "run"]
    assert sorted(names) == sorted(get_command(app).commands)  # pyright: ignore[reportAttributeAccessIssue]
    places = [told.index(f"│ {name} ") for name in names]
    assert places == sorted(places)
    assert [told.index(panel) for panel in PANELS] == sorted(told.index(panel) for panel in PANELS)


def test_the_demo_has_the_options_of_a_run_but_a_configuration():
    commands = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    demo, run = ({option.name for option in commands[name].params} for name in ("demo", "run"))
    assert run - demo == {"config", "federation"}
    assert demo - run == set()
