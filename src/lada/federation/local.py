"""One run on one machine: the same ServerApp and ClientApp as anywhere, over the local grid."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context, RecordDict

from lada.core.errors import InputError
from lada.federation.exchange import GridExchange
from lada.federation.grid import RUN_ID, SERVER_NODE, LocalGrid, open_clients
from lada.federation.ledger import Describe, Ledger, Row
from lada.federation.messages import NAME_LENGTH, SERVER
from lada.federation.server_app import make_server_app
from lada.federation.worker_process import load
from lada.federation.workers import InProcess, Pool, Workers

if TYPE_CHECKING:
    from lada.hosts.party import Emit

FACTORY = f"{open_clients.__module__}:{open_clients.__qualname__}"


def run_local(
    open_node: str,
    node_config: Mapping[str, str],
    serve: Callable[[GridExchange], None],
    *,
    workers: int | None,
    timeout: float,
    emit: Emit,
    folder: Path,
    describe: Describe | None = None,
    earlier: Iterable[Row] = (),
) -> tuple[Row, ...]:
    """Run `serve` with one client per entry of `node_config` and return the ledger's rows.

    `open_node` names a function `package.module:function` that makes a ClientNode from (context, emit);
    `context.node_config` holds the client's `name`, its `folder` (`<folder>/clients/<name>`) and, as `config`, its
    text from `node_config`. `workers` is the number of processes: None for one per core but no more than clients,
    0 for none (the clients then work one after another in this process, to the same bits). `timeout`, seconds, is
    how long the server waits for the replies of one phase. Events of all clients go to `emit`, one at a time.

    `ledger.parquet` and, with workers, `workers.log` are written to `folder`, also when the run fails; `describe` and
    `earlier` are the Ledger's. Raises InputError for a name that cannot be a folder or a function that is not there,
    FederationError when a client fails or stays silent, and whatever `serve` raises.
    """
    _check_names(node_config)
    load(open_node)
    nodes = {
        name: {"name": name, "folder": str(folder / "clients" / name), "config": config}
        for name, config in node_config.items()
    }
    config = json.dumps({"open_node": open_node, "nodes": nodes})
    size = min(cores() if workers is None else workers, len(nodes))
    with Ledger(folder, describe, earlier) as ledger, _open(config, emit, size, folder / "workers.log") as crew:
        run = folder.resolve().name
        app = make_server_app(serve, run=run, clients=nodes, timeout=timeout, ledger=ledger)
        app(LocalGrid(nodes, crew.submit), Context(RUN_ID, SERVER_NODE, {}, RecordDict(), {}))
    return tuple(ledger.rows)


def _open(config: str, emit: Emit, size: int, log: Path) -> Workers:
    return Pool(FACTORY, config, emit, size=size, log=log) if size else InProcess(FACTORY, config, emit)


def cores() -> int:
    """Return how many processes this machine runs at a time for us."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not 0 < len(name) <= NAME_LENGTH or not name.isprintable() or set(name) & set("/\\:") or name[0] == ".":
            raise InputError(
                f"clients: {name!r} cannot be a client's name, since it names a folder; expected 1 to {NAME_LENGTH} "
                "printable characters without / \\ : and no leading dot"
            )
        if name == SERVER:
            raise InputError(f"clients: the name {name!r} is the server's; choose another")
