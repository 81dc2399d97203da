"""`lada federation`, `lada server`, `lada client`: runs across several machines."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lada.cli.explained import explained
from lada.core.errors import LadaError
from lada.core.plural import counted
from lada.core.shown import in_one_line

app = typer.Typer(no_args_is_help=True, help="Runs across several machines.")
Host = Annotated[list[str], typer.Option("--host", help="A name or address at which clients reach the server.")]
Days = Annotated[int, typer.Option(min=1, max=36_500, help="Validity of the server's certificate, in days.")]
Folder = Annotated[Path, typer.Argument(help="The folder that `lada federation init` wrote.")]


@app.command()
def init(
    config: Annotated[Path, typer.Argument(help="The YAML configuration of a run.")],
    folder: Annotated[Path, typer.Option(help="The folder to write; it must be empty or not exist yet.")] = Path("fed"),
    host: Host = [],  # noqa: B006 - typer wants a list
    port: Annotated[int, typer.Option(min=1, max=65535, help="The server's port.")] = 9092,
    days: Days = 365,
) -> None:
    """Write the files of one server and its clients: configurations, certificates, keys and service units."""
    from lada.core.signals import ended_by_signal, exit_code
    from lada.engines.setup import init as write

    try:
        with explained(), ended_by_signal():
            clients = write(config, folder, hosts=host, port=port, days=days)
    except KeyboardInterrupt as stop:
        raise typer.Exit(exit_code(stop)) from None
    _say(f"wrote {folder}: the server and {', '.join(clients)}; {folder / 'README.md'} has the steps")


@app.command()
def renew(folder: Folder, host: Host = [], days: Days = 365) -> None:  # noqa: B006
    """Write a new certificate for the server, and an identity if it has none. Restart `lada server` afterwards."""
    from lada.engines.setup import renew as write

    with explained():
        identified = write(folder, hosts=host, days=days)
    _say(f"wrote {folder / 'server' / 'server.crt'}, valid for {counted(days, 'day')}")
    if identified:
        _say(f"wrote {folder / 'server' / 'identity.key'} and identity.pub; give each client its new identity.pub")


@app.command()
def lock(folder: Folder = Path("fed")) -> None:
    """Write the digests of the wheels in FOLDER/wheels to requirements.lock, which the Dockerfile in FOLDER uses."""
    from lada.engines.lock import lock as write

    with explained():
        wheels = write(folder)
    _say(f"wrote {folder / 'requirements.lock'} with the digests of {counted(wheels, 'wheel')}")


@app.command()
def up(folder: Folder = Path("fed")) -> None:
    """Start the server and all clients on this machine, to try a federation out; Ctrl-C stops them."""
    from lada.engines.server_file import FILE, read_server

    with _logged("federation") as say:
        read_server(folder.resolve() / "server" / FILE)  # first: report a typo before the slow import of Flower
        from lada.engines.up import up as start

        start(folder, say)


def server(file: Annotated[Path, typer.Argument(help="server.yaml")] = Path("server.yaml")) -> None:
    """Run a federation's server, on the server's host, until Ctrl-C or SIGTERM."""
    from lada.engines.server_file import read_server

    with _logged("server") as say:
        read_server(file.resolve())  # first: report a typo before the slow import of Flower
        from lada.engines.server import run_server

        run_server(file, say)


def client(file: Annotated[Path, typer.Argument(help="client.yaml")] = Path("client.yaml")) -> None:
    """Run a federation's client, on the client's host, until Ctrl-C or SIGTERM."""
    from lada.engines.client_file import read_client

    with _logged("client") as say:
        read_client(file.resolve())  # first: report a typo before the slow import of Flower
        from lada.engines.client import run_client

        run_client(file, say)


def _say(text: str) -> None:
    typer.echo(in_one_line(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"))


@contextmanager
def _logged(name: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that writes to the log. These commands normally end by being stopped."""
    from lada.core import logs
    from lada.core.owner import owner_only

    owner_only()
    with explained():
        logs.set_up(sys.stdout)
        log = logging.getLogger(f"lada.{name}")
        try:
            yield log.info
        except KeyboardInterrupt:
            log.info("stopped")
        except LadaError as error:
            if not logs.as_json():
                raise
            log.error(str(error))
            raise typer.Exit(error.exit_code) from None
