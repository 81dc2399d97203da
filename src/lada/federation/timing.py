"""Measures the transit time of a phase's messages, without the computation of the clients and the server."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from lada.core.results import ClientTime, ExchangeTime
from lada.rounds.party import round_to_ms


class Clock:
    """A clock of seconds that stands still while the server checks or writes replies."""

    def __init__(self) -> None:
        self._lost = 0.0
        self._halted: float | None = None

    def now(self) -> float:
        """Return the time, which is meaningful only relative to another time of the same clock."""
        return (time.monotonic() if self._halted is None else self._halted) - self._lost

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Stop the clock while the block runs."""
        self._halted = time.monotonic()
        try:
            yield
        finally:
            self._lost += time.monotonic() - self._halted
            self._halted = None


class Timing:
    """The send and arrival times of the messages of one phase, and how long clients say they worked."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._sent: dict[str, float] = {}
        self._began = 0.0
        self._elapsed: dict[str, float] = {}
        self._waited: dict[str, float] = {}
        self._there: dict[str, float] = {}
        self._computing: dict[str, float | None] = {}

    def send(self, name: str) -> None:
        """A message is about to be sent to a client. If it dies and gets the message again, the last time counts."""
        self._sent[name] = self.clock.now()

    def wait(self) -> None:
        """The server has nothing left to do except wait."""
        self._began = self.clock.now()

    def receive(self, name: str, computing: float | None) -> None:
        """A reply has arrived from a client that claims to have worked for that many seconds; at most the elapsed time
        counts."""
        sent, now = self._sent[name], self.clock.now()
        self._elapsed[name], self._waited[name], self._there[name] = now - sent, now - max(sent, self._began), now
        self._computing[name] = computing if computing is not None and computing <= now - sent else None

    @contextmanager
    def fetching(self, name: str) -> Iterator[None]:
        """The time within the block belongs to a reply that `receive` noted and that arrives in pieces."""
        before = self.clock.now()
        yield
        self._there[name] = self.clock.now()
        self._elapsed[name] += self._there[name] - before
        self._waited[name] += self._there[name] - before

    def told(self, round: int, phase: str, names: Collection[str]) -> ExchangeTime | None:
        """Return the times of the clients in `names` whose replies came over the wire; None if there are none.

        Time in which the server itself was busy is not counted, since the arrival of a reply is then unknown.
        """
        received = sorted(self._there.keys() & set(names))
        if not received:
            return None
        last = max(self._there[name] for name in received)
        waited = max(last - self._began, 0.0)
        known = [seconds for name in received if (seconds := self._computing[name]) is not None]
        slowest = max(known) if len(known) == len(received) else None
        return ExchangeTime(
            round=round,
            phase=phase,
            waited=round_to_ms(waited),
            computing=_in_ms(slowest),
            exchange=_apart(last - min(self._sent[name] for name in received), slowest, waited),
            clients=tuple(
                ClientTime(
                    party=name,
                    elapsed=round_to_ms(self._elapsed[name]),
                    computing=_in_ms(self._computing[name]),
                    exchange=_apart(self._elapsed[name], self._computing[name], self._waited[name]),
                )
                for name in received
            ),
        )


def _apart(elapsed: float, computing: float | None, waited: float) -> float | None:
    """Return the part of the waiting that was not computation, seconds rounded to milliseconds."""
    return None if computing is None else round_to_ms(max(0.0, min(elapsed - computing, waited)))


def _in_ms(seconds: float | None) -> float | None:
    return None if seconds is None else round_to_ms(seconds)
