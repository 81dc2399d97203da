"""The server's half: a Flower ServerApp that finds its clients by name and lets `serve` work with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from lada.core.errors import FederationError
from lada.federation.exchange import GridExchange, collect, post, refuse
from lada.federation.messages import HELLO, SERVER, Envelope

if TYPE_CHECKING:
    from lada.federation.ledger import Ledger


def make_server_app(
    serve: Callable[[GridExchange], None], *, run: str, clients: Collection[str], timeout: float, ledger: Ledger
) -> ServerApp:
    """Return the ServerApp: it waits for the `clients` of run `run`, then calls `serve` once.

    `timeout`, seconds, is how long the nodes may take to connect, and then to answer each phase. The app raises
    FederationError where the clients that are there are not those expected. It does not close `ledger`.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, _: Context) -> None:
        nodes = find_clients(grid, clients, run=run, timeout=timeout)
        serve(GridExchange(grid, nodes, run=run, timeout=timeout, ledger=ledger))

    return app


def find_clients(grid: Grid, clients: Collection[str], *, run: str, timeout: float) -> dict[str, int]:
    """Return the node id of each expected client, sorted by name. Node ids say nothing, so each node is asked."""
    deadline = time.monotonic() + timeout
    while len(ids := sorted(grid.get_node_ids())) < len(clients) and time.monotonic() < deadline:
        time.sleep(min(0.5, timeout))
    envelope = Envelope(run, HELLO, 0, SERVER)
    replies, failures = collect(grid, {node: post(grid, node, envelope, {}) for node in ids}, envelope, timeout)
    refuse(envelope, failures)
    names = [reply.sender for reply, _ in replies.values()]
    if sorted(names) != sorted(clients):
        raise FederationError(
            f"clients: expected {', '.join(sorted(clients))}; connected are {', '.join(sorted(names)) or 'none'}. "
            "Start one node per client, with that client's name in its node config."
        )
    return dict(sorted(zip(names, replies, strict=True)))
