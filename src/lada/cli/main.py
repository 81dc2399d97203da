"""The `lada` command. `lada COMMAND --help` tells more of each."""

import json
import os
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lada.cli import examples, federation, zoo
from lada.cli.bench import bench
from lada.cli.chat import chat
from lada.cli.doctor import doctor
from lada.cli.explained import explained
from lada.cli.export import export
from lada.cli.plugins import Plugins
from lada.cli.usage import PlainGroup
from lada.cli.watch import watch
from lada.core.bounds import MOST_SAMPLES
from lada.core.console import console, errors
from lada.core.shown import in_one_line, shown_json

app = typer.Typer(
    cls=PlainGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Federated reasoning distillation, LLM and SLMs.",
)
tasks = typer.Typer(no_args_is_help=True, help="Look at tasks.")
app.add_typer(tasks, name="tasks")
app.add_typer(zoo.app, name="zoo")
app.add_typer(examples.app, name="examples")
app.command()(doctor)
app.command()(export)
app.command()(chat)
app.command()(bench)
app.command()(watch)
app.add_typer(federation.app, name="federation")
app.command()(federation.server)
app.command()(federation.client)
# Read when transformers and datasets are imported, which only happens inside the commands: their bars would tear the
# live view.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

Sets = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a configuration key.")]
Name = Annotated[str | None, typer.Option(help="Name of the run's folder.")]
Config = Annotated[Path, typer.Argument(help="The configuration, a YAML file, or with --resume the folder of a run.")]
Runs = Annotated[Path, typer.Option(help="Where runs are kept.")]
Engine = Annotated[str | None, typer.Option(help="local, simulation or deployment; short for --set engine=.")]
Federation = Annotated[Path | None, typer.Option(help="The server's folder of a deployment.")]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="End with 0, not 3, where a phase went on without a client.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the newest run of this name, if there is one.")]


@app.command()
def demo(
    set_: Sets = [],  # noqa: B006 - typer wants a list
    name: Name = None,
    runs: Runs = Path("runs"),
    resume: Resume = False,
    engine: Engine = None,
    allow_missing: AllowMissing = False,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """Run LaDa end to end on the built-in corpus with the shipped tiny models; a few minutes on a laptop."""
    _add(plugin)
    with as_file(files("lada.examples") / "demo.yaml") as config:
        _run(config, _with(engine, set_), name, runs, resume, allow_missing)


@app.command("run")
def run_(
    config: Config,
    set_: Sets = [],  # noqa: B006
    name: Name = None,
    runs: Runs = Path("runs"),
    resume: Resume = False,
    engine: Engine = None,
    federation: Federation = None,
    allow_missing: AllowMissing = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: the plan as JSON.")] = False,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """Run the experiment that a YAML file describes."""
    _add(plugin)
    if dry_run:
        _plan(config, _with(engine, set_), as_json)
    elif as_json:
        raise typer.BadParameter(
            "it is for --dry-run; the results of a run are in its results.json", param_hint="--json"
        )
    else:
        _run(config, _with(engine, set_), name, runs, resume, allow_missing, federation)


def _add(plugins: list[Path]) -> None:
    from lada.core.plugins import add_plugins

    with explained():
        add_plugins(plugins)


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


def _with(engine: str | None, overrides: list[str]) -> list[str]:
    return [f"engine={engine}", *overrides] if engine else overrides


def _run(
    config: Path,
    overrides: list[str],
    name: str | None,
    runs: Path,
    resume: bool,
    allow_missing: bool,
    federation: Path | None = None,
) -> None:
    from lada.config_source import open_config
    from lada.core.paths import is_folder

    source, more = config, tuple(overrides)
    with explained():  # first, since a slip is not worth importing torch for
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
    from lada.experiment import run
    from lada.watching.live import LiveView

    view = LiveView(console)

    def again() -> str:
        """Return how the run goes on, where it has begun."""
        more = f" --federation {federation}" if federation else ""
        return f"; go on with: lada run {view.folder} --resume{more}" if view.folder else ""

    with explained(lambda: f"what was computed is kept{again()}" if again() else ""):
        try:
            with ended_by_signal(), view:
                results = run(
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


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    output: Annotated[Path, typer.Option(help="The page that compares several runs.")] = Path("comparison.html"),
) -> None:
    """Write the page of a run anew or, for several runs, a page that compares them."""
    from lada.report.comparison import compare
    from lada.report.page import render

    with explained():
        page = render(folders[0]) if len(folders) == 1 else compare(folders, output)
    console.print(f"report: {page}", soft_wrap=True, highlight=False)


@app.command()
def track(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    to: Annotated[str, typer.Option(help="The tracker, by name; `lada methods` lists them.")],
    set_: Annotated[list[str], typer.Option("--set", metavar="OPTION=VALUE", help="Set one of its options.")] = [],  # noqa: B006
) -> None:
    """Hand a run's figures to an experiment tracker afterwards."""
    from lada.choosing import make_method
    from lada.trackers.base import TRACKERS
    from lada.trackers.replay import replay

    with explained():
        replay(folder, to, make_method(TRACKERS, to, tuple(set_)))
    console.print(f"{folder} is in {to}", soft_wrap=True, highlight=False)


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    canary: Annotated[list[str], typer.Option(help="A text that must not have left any client.")] = [],  # noqa: B006
    private: Annotated[Path | None, typer.Option(help="A file with one such text a line.")] = None,
    mia: Annotated[bool, typer.Option("--mia", help="Attack the clients' models: membership inference.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Show what left each client, and search it for private texts.

    Exit code 1 where one is found, 4 where something could not be searched.
    """
    from lada.audit.audit import audit as do
    from lada.cli.audit import told

    with explained():
        outcome = do(folder, canaries=canary, private=private, memberships=mia)
    if json_:
        sys.stdout.write(shown_json(outcome.model_dump_json(indent=2)) + "\n")
    else:
        for part in told(outcome):
            console.print(part, soft_wrap=True)
    raise typer.Exit(outcome.exit_code)


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="Tell of this one alone, with what its options mean.")] = None,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """List all methods: name, paper, what they need of a learner, confirmed or our reading, options."""
    from lada.cli.tables import method_tables, method_told

    _add(plugin)
    with explained():
        for part in method_tables() if name is None else method_told(name):
            console.print(part, soft_wrap=not isinstance(part, Table))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration."""
    from lada.config import full_schema

    json.dump(full_schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")


@tasks.command()
def show(
    config: Annotated[Path | None, typer.Argument(help="A configuration; without one, the demo's.")] = None,
    count: Annotated[int, typer.Option(min=1, max=MOST_SAMPLES, help="Samples per group.")] = 2,
    set_: Sets = [],  # noqa: B006
) -> None:
    """Show what samples a task gives: sizes, domains and a few examples of each group."""
    from lada.config_source import read_config

    with explained(), as_file(files("lada.examples") / "demo.yaml") as example:
        resolved = read_config(config or example, tuple(set_))  # first, since a slip is not worth importing torch for
        from lada.cli.tables import task_tables
        from lada.federation.parties import read_task

        task = read_task(resolved, config.resolve().parent if config else Path.cwd())
        for part in task_tables(task, count):
            console.print(part)
