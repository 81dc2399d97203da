"""Messages of one phase that are in transit, and the replies to them.

The rounds continue with the clients that answered in time, if they form a quorum; missing clients are recorded.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from lada.core.errors import FederationError
from lada.core.known import Known
from lada.core.results import Missing
from lada.federation.admission import admit, fault
from lada.federation.channel import FetchError
from lada.federation.failures import Failure, Reply
from lada.federation.messages import Code, Envelope
from lada.federation.pieces import PIECE, What
from lada.federation.timing import Timing
from lada.rounds.base import Look, Payload

if TYPE_CHECKING:
    from lada.federation.channel import Channel
    from lada.federation.received import ReceivedReplies

KEPT = 1 << 20
"""The most bytes of the replies to one ask that the server keeps decoded; decoded, they take about 25 times as much
memory. Others are read again from the journal, so memory does not grow with the number of clients."""


class GridPending:
    """Messages that are in transit, without those whose replies were received before the run was resumed."""

    def __init__(
        self,
        channel: Channel,
        envelope: Envelope,
        payloads: Mapping[str, Mapping[str, bytes]],
        received: ReceivedReplies,
    ) -> None:
        """Send the messages without a reply. In a phase that is over, these are messages whose replies were lost."""
        self._channel, self._envelope, self._received = channel, envelope, received
        missing = received.missing(payloads)
        self._missing = missing or {}
        self._room, self._look = KEPT, None
        self._known: dict[str, Known] = {}
        for name in sorted(payloads.keys() - self._missing.keys()):
            reply = received.reply(name)
            if reply is not None and self._fault(name, reply) is None:
                channel.catch_up(envelope, name, payloads[name], reply)
                self._keep(name, reply)
        self._least = channel.session.rules.least(len(payloads))
        self._large: dict[str, dict[str, int]] = {}
        rest = {name: payloads[name] for name in payloads.keys() - self._known.keys() - self._missing.keys()}
        self._lost = frozenset() if missing is None else frozenset(rest)
        self._over = missing is not None and not rest
        self._timing = Timing()
        self._asking = channel.asking(envelope, {name: rest[name] for name in sorted(rest)}, self._timing)

    def wait(self, look: Look | None = None) -> dict[str, Payload]:
        """Return the replies by client name, sorted. Call it once. See Pending.wait.

        Every client has until its deadline, even if another has failed. Raises FederationError, naming all clients that
        failed or stayed silent, if fewer than a quorum answered.
        """
        if look:
            for name, reply in self._known.items():
                look(name, reply)
        self._look = look
        if not self._over:
            self._timing.wait()
            failures = self._asking.wait(self._receive)
            for name in sorted(self._large):
                if failure := self._fetch(name, self._large[name]):
                    failures[name] = failure
            failures |= {name: Failure(Code.ABSENT) for name in failures if not self._channel.is_there(name)}
            if len(self._known) < self._least:
                for name in sorted(failures):
                    self._channel.fail(self._envelope, name, failures[name])
                refuse(self._envelope, failures, self._lost)
            new = {name: _reason(name, failures[name], self._lost) for name in failures}
            self._missing = dict(sorted({**self._missing, **new}.items()))
            self._received.close(self._missing)
            self._channel.timed(self._timing.told(self._envelope.round, self._envelope.phase, self._known))
        for name, why in self._missing.items():
            self._channel.miss(Missing(party=name, round=self._envelope.round, phase=self._envelope.phase, why=why))
        self._channel.answers[self._envelope.phase, self._envelope.round] = set(self._known), self._least
        return {name: self._known[name] for name in sorted(self._known)}

    def _receive(self, name: str, reply: Reply) -> Failure | None:
        self._timing.receive(name, reply[0].seconds)
        outcome = admit(self._channel.session.guard, name, reply, self._channel.session.rules.reply_bytes)
        if isinstance(outcome, Failure):
            return outcome
        if outcome is not None:
            self._large[name] = outcome
        else:
            self._received.keep(name, reply[1])
            self._put_on_record(name, reply[1])
        return None

    def _fault(self, name: str, payload: Payload) -> Failure | None:
        return fault(self._channel.session.guard, name, self._envelope, payload)

    def _fetch(self, name: str, sizes: Mapping[str, int]) -> Failure | None:
        """Fetch a large reply piece by piece, directly to disk; all pieces together have the time limit of one
        reply."""
        deadline = time.monotonic() + self._channel.session.rules.seconds(name)
        pieces = {kind: self._pieces(name, kind, sizes[kind], deadline) for kind in sizes}
        try:
            with self._timing.fetching(name):
                self._received.keep_pieces(name, pieces)
        except FetchError as error:
            return error.failure
        reply = self._received.reply(name)
        assert reply is not None
        with self._timing.clock.halted():
            if refused := self._fault(name, reply):
                return refused
            self._put_on_record(name, reply)
        return None

    def _pieces(self, name: str, kind: str, size: int, deadline: float) -> Iterator[bytes]:
        for start in range(0, size, PIECE):
            what = What(self._envelope.phase, kind, start, min(PIECE, size - start))
            yield self._channel.fetch(name, self._envelope, what, deadline)

    def _put_on_record(self, name: str, checked: Known) -> None:
        self._channel.record(self._envelope, name, "up", checked)
        if self._look:
            self._look(name, checked)
        self._keep(name, checked)

    def _keep(self, name: str, checked: Known) -> None:
        """Keep a reply, which is in the journal, with its decoded content as far as there is room."""
        reply = self._received.reply(name)
        assert reply is not None
        for what, made in checked.made.items():
            if (size := checked.size(what) if what in checked else 0) <= self._room:  # besides parts, there are numbers
                self._room -= size
                reply.keep(what, made)
        reply.settle()
        self._known[name] = reply


class UnansweredError(FederationError):
    """Fewer clients than the quorum answered."""


def refuse(expected: Envelope, failures: Mapping[str, Failure], lost: Collection[str] = ()) -> None:
    """Raise FederationError naming every failure, if there are any."""
    if failures:
        told = "; ".join(f"client {key!r}: {_reason(key, failure, lost)}" for key, failure in failures.items())
        raise UnansweredError(f"round {expected.round}, phase {expected.phase}: {told}")


def _reason(name: str, failure: Failure, lost: Collection[str]) -> str:
    """Return why there is no reply; the reply of a `lost` client was received before."""
    before = "its reply in the server's journal is damaged or gone, and asked again: " if name in lost else ""
    return f"{before}{failure}"
