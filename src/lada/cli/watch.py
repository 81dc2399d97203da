"""`lada watch`: the progress of a run, from another terminal, and its figures for Prometheus."""

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lada.cli.explained import explained
from lada.core.console import console
from lada.core.shown import shown_json

if TYPE_CHECKING:
    from lada.watching.watch import Watch

PAUSE = 0.5
"""Seconds between two updates."""


def watch(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    once: Annotated[bool, typer.Option("--once", help="Print the current state and exit.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the current state as JSON and exit.")] = False,
    metrics: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Serve the run's figures to Prometheus on this port; 0: any free port.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="With --metrics: the address to listen on.")] = "127.0.0.1",
) -> None:
    """Show the progress of a run in another process, or the end state of a finished run; Ctrl-C ends the view."""
    from lada.cli.watched import shown
    from lada.core.signals import ended_by_signal
    from lada.watching.metrics import served
    from lada.watching.watch import Watch

    if metrics is not None and (once or json_):
        raise typer.BadParameter("metrics are served until you stop the command", param_hint="--once, --json")
    with explained(), ended_by_signal(), ExitStack() as stack:
        watched = Watch(folder)
        if metrics is not None:
            port = stack.enter_context(served(Watch(folder).look, host, metrics))
            console.print(f"metrics: http://{_bracketed(host)}:{port}/metrics", highlight=False, soft_wrap=True)
        try:
            if json_:
                sys.stdout.write(shown_json(watched.look().model_dump_json(indent=2)) + "\n")
            elif once or not (console.is_terminal or metrics is not None):
                console.print(shown(watched.look(), time.time()))
            elif console.is_terminal:
                _live(watched, for_ever=metrics is not None)
            else:
                while True:
                    time.sleep(PAUSE)
        except KeyboardInterrupt:
            pass  # how a view ends


def _live(watched: "Watch", *, for_ever: bool) -> None:
    """Show the run until it is over; the last view stays on the screen."""
    from rich.live import Live

    from lada.cli.watched import shown

    with Live(console=console, auto_refresh=False) as live:
        while True:
            now = watched.look()
            over = now.over and not for_ever
            # Live would show only the beginning of a view taller than the terminal; the last one may scroll.
            live.update(shown(now, time.time(), height=None if over else console.height), refresh=True)
            if over:
                return
            time.sleep(PAUSE)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
