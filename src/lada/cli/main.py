"""The `lada` command; `lada COMMAND --help` describes each of its commands."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import click
import typer

from lada import examples as shipped
from lada.cli import examples, federation, zoo
from lada.cli.bench import bench
from lada.cli.chat import chat
from lada.cli.doctor import doctor
from lada.cli.explained import explained
from lada.cli.export import export
from lada.cli.plugins import Plugins, add
from lada.cli.run import Sets, demo, run
from lada.cli.usage import PlainGroup
from lada.cli.watch import watch
from lada.core.bounds import MOST_SAMPLES
from lada.core.console import console
from lada.core.distribution import lada_version
from lada.core.shown import shown_json

# transformers and datasets read these when a command imports them. Their progress bars would break the live view.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    output: Annotated[Path, typer.Option(help="The page to write for several runs.")] = Path("comparison.html"),
) -> None:
    """Write the report page of a run again or, given several runs, a page that compares them."""
    from lada.report.comparison import compare
    from lada.report.page import render

    with explained():
        page = render(folders[0]) if len(folders) == 1 else compare(folders, output)
    console.print(f"report: {page}", soft_wrap=True, highlight=False)


def track(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    to: Annotated[str, typer.Option(help="The tracker, by name; `lada methods` lists them.")],
    set_: Annotated[list[str], typer.Option("--set", metavar="OPTION=VALUE", help="Set a tracker's option.")] = [],  # noqa: B006
) -> None:
    """Send the figures of an earlier run to an experiment tracker."""
    from lada.choosing import make_method
    from lada.trackers.base import TRACKERS, Viewable
    from lada.trackers.replay import replay

    with explained():
        tracker = make_method(TRACKERS, to, tuple(set_))
        replay(folder, to, tracker)
    console.print(f"{folder} is in {to}", soft_wrap=True, highlight=False)
    if isinstance(tracker, Viewable):
        console.print(f"to look at it: {tracker.view()}", soft_wrap=True, highlight=False)


def audit(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    canary: Annotated[list[str], typer.Option(help="A text that must not have left any client; repeatable.")] = [],  # noqa: B006
    private: Annotated[Path | None, typer.Option(help="A file with one such text per line.")] = None,
    mia: Annotated[
        bool, typer.Option("--mia", help="Also attack the clients' models by membership inference.")
    ] = False,
    exposure: Annotated[
        Path | None, typer.Option(help="A JSON Lines file of planted secrets, to measure their exposure.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Show what left each client, and search it for private text.

    Exit code 1: private text was found. Exit code 4: something could not be searched.
    """
    from lada.audit.audit import audit as do
    from lada.cli.audit import told

    with explained():
        outcome = do(folder, canaries=canary, private=private, memberships=mia, exposed=exposure)
    if json_:
        sys.stdout.write(shown_json(outcome.model_dump_json(indent=2)) + "\n")
    else:
        for part in told(outcome):
            console.print(part, soft_wrap=True)
    raise typer.Exit(outcome.exit_code)


def methods(
    name: Annotated[str | None, typer.Argument(help="Describe only this method, with all its options.")] = None,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """List all methods, or describe one: its paper, formulas, needs and options."""
    from lada.cli.tables import method_tables, method_told

    add(plugin)
    with explained():
        for part in method_tables() if name is None else method_told(name):
            console.print(part)


def schema() -> None:
    """Print the JSON Schema of the configuration."""
    from lada.config import full_schema

    json.dump(full_schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")


def show_tasks(
    config: Annotated[Path | None, typer.Argument(help="A configuration file; default: the demo's.")] = None,
    count: Annotated[int, typer.Option(min=1, max=MOST_SAMPLES, help="Samples per group.")] = 2,
    set_: Sets = [],  # noqa: B006
) -> None:
    """Show a task's samples: sizes, domains and a few examples of each group."""
    from lada.config_source import read_config

    with explained(), shipped.demo() as example:
        resolved = read_config(config or example, tuple(set_))  # first: report a typo before the slow import of torch
        from lada.cli.tables import task_tables
        from lada.federation.parties import read_task

        task = read_task(resolved, config.resolve().parent if config else Path.cwd())
        for part in task_tables(task, count):
            console.print(part)


tasks = typer.Typer(no_args_is_help=True, help="Inspect tasks.")
tasks.command("show")(show_tasks)

PANELS = {
    "Run an experiment": {"demo": demo, "run": run, "examples": examples.app},
    "Look at a run": {"watch": watch, "report": report, "chat": chat, "export": export, "track": track, "audit": audit},
    "Prepare an experiment": {"doctor": doctor, "methods": methods, "tasks": tasks, "schema": schema, "zoo": zoo.app},
    "Compare methods": {"bench": bench},
    "Run across several machines": {
        "federation": federation.app,
        "server": federation.server,
        "client": federation.client,
    },
}
"""The commands under the headings of `lada --help`, in the order in which a user needs them."""


class Commands(PlainGroup):
    """The commands in the order of PANELS; typer would put commands before groups."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click.Group.list_commands."""
        return [name for commands in PANELS.values() for name in commands]


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Federated reasoning distillation between an LLM and SLMs.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(f"lada {lada_version()}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options of `lada` itself."""


for panel, commands in PANELS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(command)
