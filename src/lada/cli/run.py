"""`lada demo` and `lada run`: an experiment, or with --dry-run what it would be."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lada import examples
from lada.cli.explained import explained
from lada.cli.plugins import Plugins, add
from lada.core.console import console, errors
from lada.core.names import check_name
from lada.core.shown import in_one_line, shown_json

Sets = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a configuration key.")]
Name = Annotated[str | None, typer.Option(help="Name of the run's folder.")]
Config = Annotated[Path, typer.Argument(help="The configuration, a YAML file, or with --resume the folder of a run.")]
Runs = Annotated[Path, typer.Option(help="Where runs are kept.")]
Engine = Annotated[str | None, typer.Option(help="local, simulation or deployment; short for --set engine=.")]
Federation = Annotated[Path | None, typer.Option(help="The server's folder of a deployment.")]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="End with 0, not 3, where a phase went on without a client.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")]
Json = Annotated[bool, typer.Option("--json", help="With --dry-run: the plan as JSON.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the newest run of this name, if there is one.")]


def demo(
    set_: Sets = [],  # noqa: B006 - typer wants a list
    name: Name = None,
    runs: Runs = Path("runs"),
    resume: Resume = False,
    engine: Engine = None,
    allow_missing: AllowMissing = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """Run LaDa end to end on the built-in corpus with the shipped tiny models; a few minutes on a laptop."""
    with examples.demo() as config:
        run(config, set_, name, runs, resume, engine, None, allow_missing, dry_run, as_json, plugin)


def run(
    config: Config,
    set_: Sets = [],  # noqa: B006
    name: Name = None,
    runs: Runs = Path("runs"),
    resume: Resume = False,
    engine: Engine = None,
    federation: Federation = None,
    allow_missing: AllowMissing = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """Run the experiment that a YAML file describes."""
    add(plugin)
    overrides = [f"engine={engine}", *set_] if engine else set_
    if dry_run:
        _plan(config, overrides, as_json)
    elif as_json:
        raise typer.BadParameter(
            "it is for --dry-run; the results of a run are in its results.json", param_hint="--json"
        )
    else:
        _run(config, overrides, name, runs, resume, allow_missing, federation)


def _plan(config: Path, overrides: list[str], as_json: bool) -> None:
    from lada.config_source import open_config

    with explained():
        opened = open_config(config, tuple(overrides))  # first, since a slip is not worth importing torch for
        from lada.cli.planned import plan_tables
        from lada.planning.compose import plan

        planned = plan(opened)
        if as_json:
            sys.stdout.write(shown_json(planned.model_dump_json(indent=2)) + "\n")
        else:
            for part in plan_tables(planned):
                console.print(part, soft_wrap=not isinstance(part, Table))
    if planned.faults:
        raise typer.Exit(2)


def _run(
    config: Path,
    overrides: list[str],
    name: str | None,
    runs: Path,
    resume: bool,
    allow_missing: bool,
    federation: Path | None,
) -> None:
    from lada.config_source import open_config
    from lada.core.paths import is_folder

    source, more = config, tuple(overrides)
    with explained():  # first, since a slip is not worth importing torch for
        if name is not None:
            check_name("--name", name)
        if resume and is_folder(config):
            from lada.federation.run_folder import read

            read(config)
        else:
            source, more = open_config(config, more), ()
            from lada.federation.parties import check_sources

            check_sources(*source)

    from lada.cli.summary import cut, summary
    from lada.core.errors import LOST
    from lada.core.signals import ended_by_signal, exit_code
    from lada.experiment import run as start
    from lada.watching.live import LiveView

    view = LiveView(console)

    def again() -> str:
        """Return how the run goes on, where it has begun."""
        more = f" --federation {federation}" if federation else ""
        return f"; continue with: lada run {view.folder} --resume{more}" if view.folder else ""

    with explained(lambda: f"what was computed is kept{again()}" if again() else ""):
        try:
            with ended_by_signal(), view:
                results = start(
                    source,
                    name=name,
                    runs=runs,
                    overrides=more,
                    emit=view.emit,
                    resume=resume,
                    federation=federation,
                )
        except KeyboardInterrupt as stop:
            errors.print(f"stopped{again()}", style="bold", highlight=False, soft_wrap=True)
            raise typer.Exit(exit_code(stop)) from None
    console.print(summary(results))
    for notice in cut(results.notices):
        console.print(in_one_line(f"note: {notice}"), highlight=False)
    console.print(f"report: {view.folder}/report.html", soft_wrap=True, highlight=False)
    for line in cut(results.lost()):
        errors.print(in_one_line(line), style="bold red", highlight=False, soft_wrap=True)
    if results.missing and not allow_missing:
        raise typer.Exit(LOST)
