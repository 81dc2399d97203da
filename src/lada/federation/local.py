"""One run on one machine: the same ServerApp and ClientApp as anywhere, over the local grid."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context, RecordDict

from lada.core.errors import InputError
from lada.federation.exchange import GridExchange, Rules
from lada.federation.grid import RUN_ID, SERVER_NODE, LocalGrid, open_clients
from lada.federation.journal import Journal
from lada.federation.ledger import Describe, Ledger, Row
from lada.federation.messages import NAME_LENGTH, SERVER
from lada.federation.server_app import make_server_app
from lada.federation.worker_process import load
from lada.federation.workers import InProcess, Pool, Workers
from lada.hosts.checks import Guard

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from lada.core.results import Missing
    from lada.hosts.party import Emit

FACTORY = f"{open_clients.__module__}:{open_clients.__qualname__}"


def run_local(
    open_node: str,
    node_config: Mapping[str, str],
    serve: Callable[[GridExchange], None],
    *,
    workers: int | None,
    rules: Rules,
    emit: Emit,
    folder: Path,
    describe: Describe | None = None,
    earlier: Iterable[Row] = (),
    journal: Callable[[int], Journal] | None = None,
    on_missing: Callable[[Missing], None] | None = None,
    guard: Guard | None = None,
) -> tuple[Row, ...]:
    """Run `serve` with one client per entry of `node_config` and return the ledger's rows.

    `open_node` names a function `package.module:function` that makes a ClientNode from (context, emit);
    `context.node_config` holds the client's `name`, its `folder` (`<folder>/clients/<name>`) and, as `config`, its
    text from `node_config`. `workers` is the number of processes: None for one per core but no more than clients,
    0 for none (the clients then work one after another in this process, to the same bits). `rules` say
    who is waited for and how long. Events of all clients go to `emit`, one at a time.

    `ledger.parquet` and, with workers, `workers.log` are written to `folder`, also when the run fails; `describe` and
    `earlier` are the Ledger's, `journal` (by default `<folder>/journal/server`), `on_missing`
    and `guard` the exchange's. Raises InputError for a name that cannot be
    a folder or a function that is not there, FederationError when no quorum of clients answers, and whatever `serve`
    raises.
    """
    _check_names(node_config)
    load(open_node)
    nodes = sorted(node_config)
    texts = sorted(set(node_config.values()))  # mostly one for all, and long where clients are many
    which = {name: texts.index(node_config[name]) for name in nodes}
    clients = str(folder / "clients")
    config = json.dumps({"open_node": open_node, "clients": clients, "texts": texts, "nodes": which})
    size = min(cores() if workers is None else workers, len(nodes))
    heard = journal or (lambda round: Journal(folder / "journal" / SERVER).at(str(round)))
    with Ledger(folder, describe, earlier) as ledger, _open(config, emit, size, folder / "workers.log") as crew:
        run = folder.resolve().name

        def connect(grid: Grid) -> GridExchange:
            return GridExchange(
                grid, nodes, run=run, rules=rules, ledger=ledger, journal=heard, on_missing=on_missing, guard=guard
            )

        app = make_server_app(connect, serve)
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
