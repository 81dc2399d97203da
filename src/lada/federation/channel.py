"""Sends single messages to the clients and back over any Flower Grid, and records them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from lada.core.errors import InputError
from lada.federation.asking import WINDOW, Asking, post
from lada.federation.bound import Sealed
from lada.federation.failures import Failure, Reply
from lada.federation.messages import SERVER, Code, Envelope
from lada.federation.pieces import BYTES, FETCH, What
from lada.federation.roster import Roster
from lada.rounds.base import Payload

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from lada.core.results import ExchangeTime, Missing
    from lada.federation.ledger import Ledger
    from lada.federation.session import Session
    from lada.federation.timing import Timing

IN_FLIGHT = 256 << 20
"""The approximate number of bytes of one ask in transit at a time; four messages are always allowed."""


class FetchError(Exception):
    """A piece did not arrive."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Channel:
    """The channel to the clients, by name."""

    def __init__(self, grid: Grid, roster: Roster, session: Session, ledger: Ledger) -> None:
        self._grid, self._roster = grid, roster
        self.session, self.ledger = session, ledger
        self.answers: dict[tuple[str, int], tuple[set[str], int]] = {}
        """For each phase and round: the clients that answered, and how many must answer."""

    def asking(self, envelope: Envelope, payloads: Mapping[str, Mapping[str, bytes]], timing: Timing) -> Asking[str]:
        """Send one message to each client named in `payloads`, by the rules."""
        sealed = Sealed(self.session.binding)

        def send(name: str) -> str | None:
            node = self._roster.nodes.get(name)
            if node is None:
                return None
            self.record(envelope, name, "down", payloads[name])
            timing.send(name)
            return post(self._grid, node, sealed.ask(name, envelope, payloads[name]), payloads[name])

        largest = max((sum(map(len, payload.values())) for payload in payloads.values()), default=0)
        window = max(4, min(WINDOW, IN_FLIGHT // max(largest, 1)))
        return Asking(
            self._grid,
            payloads,
            envelope,
            send=send,
            seconds=self.session.rules.seconds,
            window=window,
            limit=self.session.rules.message_bytes,
            clock=timing.clock,
            is_back=self._is_back,
            authenticate=sealed.fault,
            explain=partial(self._explain, envelope),
        )

    def _explain(self, envelope: Envelope, name: str, failure: Failure) -> Failure:
        """Return a failure with its cause, if that may be known. Raises InputError if the user's input is the cause."""
        error = self.session.cause(name, failure.detail) if self.session.cause and failure.code is Code.FAILED else None
        if isinstance(error, InputError):
            self.fail(envelope, name, replace(failure, cause=str(error)))
            raise InputError(f"client {name!r}: {error}")
        return failure if error is None else replace(failure, cause=str(error))

    def fetch(self, name: str, asked: Envelope, what: What, deadline: float) -> bytes:
        """Return a piece of a client's last reply.

        Raises FetchError if another piece arrives, or none by `deadline` on the monotonic clock.
        """
        envelope, left = Envelope(asked.run, FETCH, asked.round, SERVER), deadline - time.monotonic()
        pieces: list[bytes] = []
        sealed, payload = Sealed(self.session.binding), what.encode()
        if left <= 0:
            raise FetchError(self.silent(name))

        def receive(name: str, reply: Reply) -> Failure | None:
            piece = reply[1]
            if reply[0].sender != name or set(piece) != {BYTES} or len(piece[BYTES]) != what.length:
                return Failure(Code.MALFORMED, "a piece of its reply is not what was asked for")
            pieces.append(piece[BYTES])
            return None

        asking = Asking(
            self._grid,
            [name],
            envelope,
            send=lambda name: post(self._grid, self._roster.nodes[name], sealed.ask(name, envelope, payload), payload),
            seconds=lambda _: left,
            limit=self.session.rules.message_bytes,
            is_back=self._is_back,
            authenticate=sealed.fault,
        )
        for failure in asking.wait(receive).values():
            raise FetchError(failure if failure.code is not Code.SILENT else self.silent(name))
        return pieces[0]

    def silent(self, name: str) -> Failure:
        """Return the failure of a client that did not answer in time."""
        return Failure(Code.SILENT, f"{self.session.rules.seconds(name):g}")

    def _is_back(self, name: str) -> bool:
        """Return whether a client's node is connected."""
        return self._roster.nodes[name] in self._grid.get_node_ids()

    def is_there(self, name: str) -> bool:
        """Return whether a client's node is known."""
        return name in self._roster.nodes

    def record(self, envelope: Envelope, client: str, direction: Literal["up", "down"], payload: Payload) -> None:
        """Enter a message to or from a client into the ledger, and announce it."""
        sender, receiver = (client, SERVER) if direction == "up" else (SERVER, client)
        size = self.ledger.record(envelope.round, envelope.phase, sender, receiver, payload)
        if self.session.emit:
            where = {"party": client, "round": envelope.round, "phase": envelope.phase}
            self.session.emit({"kind": "message", **where, "direction": direction, "bytes": size})

    def catch_up(self, envelope: Envelope, client: str, asked: Payload, reply: Payload) -> None:
        """Add rows to the ledger that only the journal has, after a crash between the two or a loss of lines."""
        if not self.ledger.has(envelope.round, envelope.phase, SERVER, client):
            self.record(envelope, client, "down", asked)
        if not self.ledger.has(envelope.round, envelope.phase, client, SERVER):
            self.record(envelope, client, "up", reply)

    def miss(self, missing: Missing) -> None:
        """Record which clients were missing."""
        if self.session.on_missing:
            self.session.on_missing(missing)

    def fail(self, envelope: Envelope, name: str, failure: Failure) -> None:
        """Announce the client, and its failure, that ends a run."""
        if self.session.emit:
            where = {"party": name, "round": envelope.round, "phase": envelope.phase}
            self.session.emit({"kind": "failure", **where, "why": str(failure)})

    def timed(self, times: ExchangeTime | None) -> None:
        """Record how long the messages of a phase took, if any were sent."""
        if self.session.on_timed and times is not None:
            self.session.on_timed(times)
