"""One run on one machine: the usual ServerApp and ClientApp over the local grid."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context, RecordDict
from flwr.serverapp import Grid, ServerApp

from lada.core.cores import cores
from lada.federation.exchange import GridExchange
from lada.federation.grid import RUN_ID, SERVER_NODE, LocalGrid, open_clients
from lada.federation.ledger import LedgerRow
from lada.federation.server_app import check_names, serve_on
from lada.federation.worker_process import load
from lada.federation.workers import InProcess, WorkerPool, Workers

if TYPE_CHECKING:
    from lada.federation.session import Session
    from lada.rounds.party import Emit

FACTORY = f"{open_clients.__module__}:{open_clients.__qualname__}"
PRELOAD = ("lada.models.load", "transformers.modeling_layers", "pyarrow.parquet")
"""Modules that all workers import, in addition to the code of their clients."""


def run_local(
    open_node: str,
    node_config: Mapping[str, str],
    serve: Callable[[GridExchange], None],
    session: Session,
    *,
    workers: int | None,
    emit: Emit,
) -> tuple[LedgerRow, ...]:
    """Run `serve` with one client per entry of `node_config` and return the ledger's rows.

    `open_node` names a function `package.module:function` that makes a ClientNode from (context, run, emit);
    `context.node_config` holds the client's `name`, its `folder` (`<folder>/clients/<name>`) and, as `config`, its text
    from `node_config`. `workers` is the number of processes: None for one per core, at most one per client; 0 for none
    (the clients then work one after another in this process, with bit-for-bit the same results). Events of all clients
    go to `emit`, one at a time.

    `ledger.parquet` and, with workers, `workers.log` are written to the session's folder, even if the run fails. Raises
    InputError for a name that cannot be a folder's or a missing function, FederationError if no quorum of clients
    answers, and whatever `serve` raises.
    """
    check_names(node_config)
    load(open_node)
    nodes = sorted(node_config)
    texts = sorted(set(node_config.values()))  # usually one for all, and long if there are many clients
    which = {name: texts.index(node_config[name]) for name in nodes}
    clients = str(session.folder / "clients")
    config = json.dumps({"open_node": open_node, "clients": clients, "texts": texts, "nodes": which})
    size = min(cores() if workers is None else workers, len(nodes))
    rows: list[LedgerRow] = []
    app = ServerApp()

    @app.main()
    def main(grid: Grid, _: Context) -> None:
        rows.extend(serve_on(grid, nodes, serve, session))

    preload = (open_node.partition(":")[0], *PRELOAD)
    with _open(config, emit, size, session.folder / "workers.log", preload) as crew:
        app(LocalGrid(nodes, crew.submit), Context(RUN_ID, SERVER_NODE, {}, RecordDict(), {}))
    return tuple(rows)


def _open(config: str, emit: Emit, size: int, log: Path, preload: tuple[str, ...]) -> Workers:
    if not size:
        return InProcess(FACTORY, config, emit)
    return WorkerPool(FACTORY, config, emit, size=size, log=log, preload=preload)
