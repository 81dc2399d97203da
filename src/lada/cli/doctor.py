"""`lada doctor`: what this machine has, what a run needs of it, what a finished one took, whom a client reaches."""

import re
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from lada.cli.explained import explained
from lada.core.console import console
from lada.core.paths import is_file
from lada.core.plural import counted, plural

if TYPE_CHECKING:
    from lada.config_source import Opened


def doctor(
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG|RUN|CLIENT]", help="A configuration, the folder of a finished run, or client.yaml."
        ),
    ] = None,
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a configuration key.")] = [],  # noqa: B006
) -> None:
    """Look at this machine. With a configuration, say whether its run fits; with a run, what it took. With a client's
    file, say whether its server can be reached and trusted, and whether its model is sound.

    Exit code 1: something does not fit or is missing. 2: the configuration is wrong.
    """
    with explained():
        if target is not None and is_file(target / "results.json"):
            console.print(_used(target))
            return
        if target is not None and _is_client(target):
            if not _reaches(target):
                raise typer.Exit(1)
            return
        opened = None
        if target is not None:
            from lada.config_source import open_config

            opened = open_config(target, tuple(set_))  # first, since a slip is not worth importing torch for
        for table in _machine():
            console.print(table)
        if opened is not None and not _fits(opened):
            raise typer.Exit(1)


def _machine() -> list[Table]:
    from lada.planning.machine import devices, disks, packages, python
    from lada.report.words import size

    missing = Table("package", "needed for", "install", title="packages that are missing")
    for package in packages():
        if package.have is None:
            missing.add_row(package.name, package.extra or "LaDa itself", package.install)
    if not missing.row_count:
        missing.add_row("none", "–", "–")
    places = Table("what", "which", Column("free", justify="right"), Column("in all", justify="right"), title=python())
    for device in devices():
        places.add_row(device.name, device.what, size(device.free), size(device.total))
    for disk in disks():
        places.add_row(disk.what, str(disk.folder), size(disk.free), "–")
    return [places, missing]


def _fits(config: "Opened") -> bool:
    from lada.cli.planned import device_table, memory_tables, remarks
    from lada.planning.compose import plan

    planned = plan(config)
    for table in memory_tables(planned):
        console.print(table)
    console.print(device_table(planned.devices))
    for remark in remarks(planned):
        console.print(remark, soft_wrap=True)
    return not planned.faults and all(device.fits for device in planned.devices)


def _is_client(file: Path) -> bool:
    """Return whether a file says where a server is, as a client's does."""
    return is_file(file) and re.search(rb"^superlink:", file.read_bytes(), re.MULTILINE) is not None


def _reaches(file: Path) -> bool:
    from lada.engines.client_file import read_client

    client = read_client(file)  # first, since a slip is not worth importing Flower for
    from lada.engines import link
    from lada.federation.client_app import ERROR_LOG, unsealed
    from lada.federation.parties import check_model

    state = file.parent / client.state
    if count := unsealed(state):
        was = plural(count, "was", "were")
        refused = f"{counted(count, 'message')} {was} refused, since the server had not sealed them for this client"
        console.print(f"{refused}; see {state / ERROR_LOG}", markup=False, highlight=False, soft_wrap=True)
    fault = link.fault(client.superlink, file.parent / client.certificate)
    told = fault or f"{client.superlink} answers over TLS, with a certificate of the federation's authority"
    console.print(told, highlight=False, soft_wrap=True)
    with chdir(file.parent):  # where the client's worker will be
        check_model(client.model, client.name)
    return fault is None


def _used(folder: Path) -> Table:
    from lada.planning.used import compare
    from lada.report.words import size

    table = Table("party", "device", "expected at most", "used at most", "in phase", title=f"memory of {folder.name}")
    for row in compare(folder):
        table.add_row(
            row.party,
            row.device,
            "unknown" if row.expected is None else size(row.expected),
            size(row.used) if row.used else "not measured",
            row.phase,
        )
    table.caption = (
        "On a CPU it is all of a process: Python and its libraries (which are in what is expected too), and with "
        "workers: 0 every party. On CUDA it is tensors alone."
    )
    return table
