"""The server's half: a Flower ServerApp that finds its clients by name and lets `serve` work with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

if TYPE_CHECKING:
    from lada.federation.exchange import GridExchange


def make_server_app(connect: Callable[[Grid], GridExchange], serve: Callable[[GridExchange], None]) -> ServerApp:
    """Return the ServerApp: it waits for its clients, then calls `serve` once.

    `connect` makes the exchange over the grid that Flower hands over.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, _: Context) -> None:
        exchange = connect(grid)
        exchange.connect()
        serve(exchange)

    return app
