"""The server's half: what a Flower ServerApp does with the grid that it is given, whatever is behind it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lada.core.errors import FederationError, InputError, LadaError
from lada.core.names import check_name
from lada.federation.bound import Binding
from lada.federation.exchange import GridExchange, Rules, UnansweredError
from lada.federation.ledger import Describe, Ledger, Row
from lada.federation.messages import SERVER

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from lada.core.results import ExchangeTime, Missing
    from lada.federation.journal import Journal
    from lada.rounds.checks import Guard
    from lada.rounds.party import Emit


def serve_on(
    grid: Grid,
    clients: Collection[str],
    serve: Callable[[GridExchange], None],
    *,
    run: str,
    rules: Rules,
    folder: Path,
    journal: Callable[[int], Journal],
    describe: Describe | None = None,
    earlier: Iterable[Row] = (),
    on_missing: Callable[[Missing], None] | None = None,
    on_timed: Callable[[ExchangeTime], None] | None = None,
    terms: Mapping[str, bytes] | None = None,
    guard: Guard | None = None,
    emit: Emit | None = None,
    binding: Binding | None = None,
    cause: Callable[[str, str], LadaError | None] | None = None,
) -> tuple[Row, ...]:
    """Find the clients by name, let `serve` work with them, and return the ledger's rows.

    `ledger.parquet` is written to `folder`, also when the run fails; `describe` and `earlier` are the Ledger's, the
    rest the exchange's. Raises FederationError when no quorum of clients answers, and whatever `serve` raises.
    """
    with Ledger(folder, describe, earlier) as ledger:
        exchange = GridExchange(
            grid,
            clients,
            run=run,
            rules=rules,
            ledger=ledger,
            journal=journal,
            on_missing=on_missing,
            on_timed=on_timed,
            terms=terms,
            guard=guard,
            emit=emit,
            binding=binding,
            cause=cause,
        )
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
