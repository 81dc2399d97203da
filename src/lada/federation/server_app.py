"""The server's half: what a Flower ServerApp does with the grid that it is given, whatever is behind it."""

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
    """Find the clients by name, let `serve` work with them, and return the ledger's rows.

    `ledger.parquet` is written to the session's folder, also when the run fails. Raises FederationError when no quorum
    of clients answers, and whatever `serve` raises.
    """
    with Ledger(session.folder, session.describe, session.earlier) as ledger:
        exchange = GridExchange(grid, clients, session, ledger)
        exchange.connect()
        try:
            serve(exchange)
        except UnansweredError:
            raise
        except FederationError:  # what was in the replies ended the run, and would end it again
            exchange.void()
            raise
    return tuple(ledger.rows)


def check_names(names: Iterable[str]) -> None:
    """Raise InputError for a client's name that cannot be a folder, or that is the server's."""
    for name in names:
        check_name("clients", name)
        if name == SERVER:
            raise InputError(f"clients: the name {name!r} is the server's; choose another")
