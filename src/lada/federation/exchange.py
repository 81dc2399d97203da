"""How the server's half reaches the clients: lada.hosts.base.Exchange over any Flower Grid.

The rounds go on with those who answered in time, as long as they are a quorum; who was missing is on record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lada.core.errors import FederationError
from lada.core.results import Missing
from lada.federation.asking import Failure, Reply, collect, post
from lada.federation.heard import Heard
from lada.federation.messages import SERVER, Code, Envelope
from lada.federation.roster import Roster

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from lada.federation.journal import Journal
    from lada.federation.ledger import Ledger

ATTEMPTS = 3
"""How often a message is sent to a client that dies over it. It may: a client answers each message once."""


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
    max_bytes: int | None = None
    """The most that a reply may have."""

    def seconds(self, client: str) -> float:
        """Return how long a client has."""
        return self.timeouts.get(client, self.timeout)

    def least(self, asked: int) -> int:
        """Return how many of the clients asked must answer: one at least."""
        return max(1, math.ceil(round(self.quorum * asked, 9)))


class GridExchange:
    """The clients by name, over a grid."""

    def __init__(
        self,
        grid: Grid,
        clients: Collection[str],
        *,
        run: str,
        rules: Rules,
        ledger: Ledger,
        journal: Callable[[int], Journal] | None = None,
        on_missing: Callable[[Missing], None] | None = None,
        terms: Mapping[str, bytes] | None = None,
    ) -> None:
        """`journal` gives the server's journal of a round; `on_missing` is told of each client that was missing.

        `terms` are what a client has to know and to accept before it takes part, where it does not know them already.
        """
        self.clients = tuple(sorted(clients))
        self._grid = grid
        self._roster = Roster(grid, clients, run=run, terms=terms or {})
        self._run = run
        self.rules = rules
        self.ledger = ledger
        self._journal = journal
        self._on_missing = on_missing

    def connect(self) -> None:
        """Wait for the clients. Raises FederationError where no quorum of them comes within the rules' timeout."""
        self._roster.wait(self.rules.least(len(self.clients)), self.rules.timeout + self.rules.starting)

    def ask(self, phase: str, round: int, payloads: Mapping[str, Mapping[str, bytes]]) -> GridPending:
        """Send one message to each client named in `payloads`. Raises FederationError for a name nobody has."""
        if unknown := sorted(set(payloads) - set(self.clients)):
            raise FederationError(f"round {round}, phase {phase}: no client is named {unknown[0]!r}")
        self._roster.look()
        envelope = Envelope(self._run, phase, round, SERVER)
        memory = Heard(self._journal(round) if self._journal else None, phase)
        return GridPending(self, envelope, {name: payloads[name] for name in sorted(payloads)}, memory)

    def send(self, envelope: Envelope, name: str, payload: Mapping[str, bytes]) -> str | None:
        """Send one message; return its id, or None where nobody took it."""
        node = self._roster.nodes.get(name)
        if node is None:
            return None
        message_id = post(self._grid, node, envelope, payload)
        self.ledger.record(envelope.round, envelope.phase, SERVER, name, payload)
        return message_id

    def miss(self, missing: Missing) -> None:
        """Put on record who was missing."""
        if self._on_missing:
            self._on_missing(missing)

    def collect(
        self,
        asked: Mapping[str, str | None],
        envelope: Envelope,
        again: Callable[[str], str | None],
        heard: Callable[[str, Reply], Failure | None],
    ) -> tuple[dict[str, Reply], dict[str, Failure]]:
        """Wait for the replies to messages by the rules."""
        timeouts = {name: self.rules.seconds(name) for name in asked}
        replies, failures = collect(
            self._grid, asked, envelope, timeouts, again=again, heard=heard, limit=self.rules.max_bytes
        )
        absent = {name: Failure(Code.ABSENT) for name in failures if name not in self._roster.nodes}
        return replies, {**failures, **absent}


class GridPending:
    """Messages that are under way, but for those whose replies were heard before the run was resumed."""

    def __init__(
        self, exchange: GridExchange, envelope: Envelope, payloads: Mapping[str, Mapping[str, bytes]], memory: Heard
    ) -> None:
        """Send what has no reply yet."""
        self._exchange, self._envelope, self._payloads, self._memory = exchange, envelope, payloads, memory
        self._known = {name: reply for name in payloads if (reply := memory.reply(name)) is not None}
        self._missing = memory.missing()
        self._attempts: dict[str, int] = {}
        rest = [name for name in payloads if name not in self._known and self._missing is None]
        self._asked = {name: self._send(name) for name in rest}

    def wait(self) -> dict[str, Mapping[str, bytes]]:
        """Return the replies by client name, sorted; to be called once.

        Every client gets until its deadline, also where another has failed. Raises FederationError, naming all that
        failed or stayed silent, where fewer than a quorum answered.
        """
        missing = self._missing
        if missing is None:
            _, failures = self._exchange.collect(self._asked, self._envelope, self._send_again, self._hear)
            if len(self._known) < self._exchange.rules.least(len(self._payloads)):
                refuse(self._envelope, failures)
            missing = {name: str(failure) for name, failure in failures.items()}
            self._memory.close(missing)
        for name, why in missing.items():
            self._exchange.miss(Missing(party=name, round=self._envelope.round, phase=self._envelope.phase, why=why))
        return {name: self._known[name] for name in sorted(self._known)}

    def _send(self, name: str) -> str | None:
        self._attempts[name] = self._attempts.get(name, 0) + 1
        return self._exchange.send(self._envelope, name, self._payloads[name])

    def _send_again(self, name: str) -> str | None:
        return self._send(name) if self._attempts[name] < ATTEMPTS else None

    def _hear(self, name: str, reply: Reply) -> Failure | None:
        envelope, payload = reply
        if envelope.sender != name:
            return Failure(Code.MALFORMED, "it gives another client's name as its own")
        self._exchange.ledger.record(envelope.round, envelope.phase, name, SERVER, payload)
        self._memory.keep(name, payload)
        self._known[name] = payload
        return None


def refuse(expected: Envelope, failures: Mapping[str, Failure]) -> None:
    """Raise FederationError naming every failure; return where there is none."""
    if failures:
        told = "; ".join(f"client {key!r}: {failure}" for key, failure in failures.items())
        raise FederationError(f"round {expected.round}, phase {expected.phase}: {told}")
