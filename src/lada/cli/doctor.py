"""`lada doctor`: check this machine, whether a run fits, what a finished run used, or whether a client can connect."""

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
    """Check this machine, and whether a run fits it or a client can connect.

    Given a configuration, check whether its run fits. Given the folder of a finished run, show what it used. Given a
    client's file, check whether its server can be reached and trusted, and whether its model is usable.

    Exit code 1: something does not fit or is missing. Exit code 2: the configuration is wrong.
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

            opened = open_config(target, tuple(set_))  # first: report a typo before the slow import of torch
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
    """Return whether a file is a client's: it names a server's address."""
    return is_file(file) and re.search(rb"^superlink:", file.read_bytes(), re.MULTILINE) is not None


def _reaches(file: Path) -> bool:
    from lada.engines.client_file import read_client

    client = read_client(file)  # first: report a typo before the slow import of Flower
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
    with chdir(file.parent):  # where the client's worker will run
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
        "On a CPU, used is the memory of the whole process: Python and its libraries (which the estimate includes) "
        "and, with workers: 0, every party. On CUDA it is the memory of tensors only."
    )
    return table
