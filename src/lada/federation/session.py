"""The context of all messages between a run's server and its clients: rules, storage and callbacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lada.core.limits import Limits

if TYPE_CHECKING:
    from lada.core.errors import LadaError
    from lada.core.results import ExchangeTime, Missing
    from lada.federation.bound import Binding
    from lada.federation.journal import Journal
    from lada.federation.ledger import Describe, LedgerRow
    from lada.rounds.checks import Guard
    from lada.rounds.party import Emit


@dataclass(frozen=True, slots=True)
class Rules:
    """Which clients to wait for, and how long."""

    timeout: float
    """Seconds that a client has for a phase, from the moment at which the server begins to wait."""
    timeouts: Mapping[str, float] = field(default_factory=dict)
    """The same for single clients, by name."""
    quorum: float = 1.0
    """The share (0..1) of the clients asked that must answer for a round to continue."""
    starting: float = 0.0
    """Additional seconds that the clients have to connect."""
    message_bytes: int = Limits().max_message_bytes
    """The most bytes of one message."""
    reply_bytes: int = Limits().reply_bytes
    """The most bytes of one reply."""

    def seconds(self, client: str) -> float:
        """Return how many seconds a client has."""
        return self.timeouts.get(client, self.timeout)

    def least(self, asked: int) -> int:
        """Return how many of the clients asked must answer: at least one."""
        return max(1, math.ceil(round(self.quorum * asked, 9)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One run between the server and its clients."""

    run: str
    """The run's name as the clients see it."""
    folder: Path
    """The run's folder, for the ledger."""
    rules: Rules
    journal: Callable[[int], Journal]
    """The server's journal of a round."""
    describe: Describe | None = None
    """Counts the samples in a message part, for the ledger."""
    earlier: Iterable[LedgerRow] = ()
    """The ledger's earlier rows, if a run is resumed."""
    terms: Mapping[str, bytes] = field(default_factory=dict)
    """The terms that a client must know and accept before it takes part, if it does not know them already."""
    guard: Guard | None = None
    """A reply that it refuses counts as missing. None: no reply is refused."""
    binding: Binding | None = None
    """A reply that it does not recognise as its client's own counts as missing. None: names are not bound, and nodes
    are believed."""
    on_missing: Callable[[Missing], None] | None = None
    """Receives each missing client."""
    on_timed: Callable[[ExchangeTime], None] | None = None
    """Receives the times of the messages of each phase."""
    emit: Emit | None = None
    """Receives an event for each message."""
    cause: Callable[[str, str], LadaError | None] | None = None
    """Finds the error behind a client's reference number if all parties belong to one user; an InputError then ends the
    run at once."""
