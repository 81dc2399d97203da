"""The server's half: the work of a Flower ServerApp with any grid."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from lada.core.errors import FederationError, InputError
from lada.core.names import check_name
from lada.federation.exchange import GridExchange
from lada.federation.ledger import Ledger, LedgerRow
from lada.federation.messages import SERVER
from lada.federation.pending import UnansweredError

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from lada.federation.session import Session


def serve_on(
    grid: Grid, clients: Collection[str], serve: Callable[[GridExchange], None], session: Session
) -> tuple[LedgerRow, ...]:
    """Find the clients by name, call `serve` with them, and return the ledger's rows.

    `ledger.parquet` is written to the session's folder, even if the run fails. Raises FederationError if no quorum of
    clients answers, and whatever `serve` raises.
    """
    with Ledger(session.folder, session.describe, session.earlier) as ledger:
        exchange = GridExchange(grid, clients, session, ledger)
        exchange.connect()
        try:
            serve(exchange)
        except UnansweredError:
            raise
        except FederationError:  # the content of the replies ended the run, and would end it again
            exchange.void()
            raise
    return tuple(ledger.rows)


def check_names(names: Iterable[str]) -> None:
    """Raise InputError if a client's name cannot be a folder's, or is the server's."""
    for name in names:
        check_name("clients", name)
        if name == SERVER:
            raise InputError(f"clients: the name {name!r} is the server's; choose another")
