"""What holds for all messages between a run's server and its clients: the rules, what is kept, and who is notified."""

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
    """Who is waited for, and how long."""

    timeout: float
    """Seconds that a client has for a phase, counted from the moment the server begins to wait."""
    timeouts: Mapping[str, float] = field(default_factory=dict)
    """The same for single clients, by name."""
    quorum: float = 1.0
    """The share (0..1) of the clients asked that must answer for a round to go on."""
    starting: float = 0.0
    """Seconds more that the clients have to connect."""
    message_bytes: int = Limits().max_message_bytes
    """Most bytes of one message."""
    reply_bytes: int = Limits().reply_bytes
    """Most bytes of one reply."""

    def seconds(self, client: str) -> float:
        """Return how long a client has."""
        return self.timeouts.get(client, self.timeout)

    def least(self, asked: int) -> int:
        """Return how many of the clients asked must answer: one at least."""
        return max(1, math.ceil(round(self.quorum * asked, 9)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One run between the server and its clients."""

    run: str
    """The run's name towards the clients."""
    folder: Path
    """The run's folder, for the ledger."""
    rules: Rules
    journal: Callable[[int], Journal]
    """The server's journal of a round."""
    describe: Describe | None = None
    """What the ledger says of a message part beside its size."""
    earlier: Iterable[LedgerRow] = ()
    """The ledger's rows of before, where a run is resumed."""
    terms: Mapping[str, bytes] = field(default_factory=dict)
    """What a client has to know and to accept before it takes part, where it does not know it already."""
    guard: Guard | None = None
    """A reply that it refuses counts as missing. None: no reply is refused."""
    binding: Binding | None = None
    """A reply that is not its client's own by it counts as missing. None: nothing binds a name; nodes are believed."""
    on_missing: Callable[[Missing], None] | None = None
    """Gets each client that was missing."""
    on_timed: Callable[[ExchangeTime], None] | None = None
    """Gets how long the messages of each phase took."""
    emit: Emit | None = None
    """Gets an event for each message that crossed."""
    cause: Callable[[str, str], LadaError | None] | None = None
    """Finds the error behind a client's reference number, where all parties are one user's: an InputError then ends the
    run at once."""
