"""How the server's half reaches the clients: lada.hosts.base.Exchange over any Flower Grid.

The rounds go on with those who answered in time, as long as they are a quorum; who was missing is on record.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from lada.core.errors import FederationError, InputError, LadaError
from lada.core.known import Known
from lada.core.limits import Limits
from lada.core.results import ExchangeTime, Missing
from lada.federation.admission import admit, fault
from lada.federation.asking import WINDOW, Asking, post
from lada.federation.bound import Binding, Sealed
from lada.federation.failures import Failure, Reply
from lada.federation.heard import Heard
from lada.federation.messages import HELLO, SERVER, Code, Envelope
from lada.federation.pieces import BYTES, FETCH, PIECE, What
from lada.federation.roster import Roster
from lada.federation.timing import Timing
from lada.rounds.base import Look, Payload
from lada.rounds.checks import Guard

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from lada.federation.journal import Journal
    from lada.federation.ledger import Ledger
    from lada.rounds.party import Emit

IN_FLIGHT = 256 << 20
"""About how many bytes of one ask are under way at a time; four messages always may."""
KEPT = 1 << 20
"""Bytes of the replies to one ask of which the server keeps what a check made of them, some 25 times as large. What is
beyond that is read again from the journal, so that memory does not follow the number of clients."""


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
        journal: Callable[[int], Journal],
        on_missing: Callable[[Missing], None] | None = None,
        on_timed: Callable[[ExchangeTime], None] | None = None,
        terms: Mapping[str, bytes] | None = None,
        guard: Guard | None = None,
        emit: Emit | None = None,
        binding: Binding | None = None,
        cause: Callable[[str, str], LadaError | None] | None = None,
    ) -> None:
        """`journal` gives the server's journal of a round; `on_missing` is told of each client that was missing,
        `on_timed` of how long the messages of each phase took.

        `emit` gets an event for each message that crossed.

        `terms` are what a client has to know and to accept before it takes part, where it does not know them already.
        A reply that the `guard` refuses (None: none is) counts as missing, as does one that is not its client's own by
        the `binding` (None: nothing binds a name, and nodes are believed). `cause` finds the error behind a client's
        reference number, where all parties are one user's: an InputError then ends the run at once.
        """
        self.clients = tuple(sorted(clients))
        self._all = frozenset(clients)
        self._grid = grid
        self._roster = Roster(grid, clients, run=run, terms=terms or {}, binding=binding)
        self._run, self._binding = run, binding
        self.rules = rules
        self.ledger = ledger
        self._journal = journal
        self._on_missing, self._on_timed = on_missing, on_timed
        self.guard = guard
        self._emit = emit
        self._latest: Heard | None = None
        self._answered: dict[tuple[str, int], tuple[set[str], int]] = {}
        self._cause = cause

    def connect(self) -> None:
        """Wait for the clients. Raises FederationError where no quorum of them comes within the rules' timeout."""
        try:
            self._roster.wait(self.rules.least(len(self.clients)), self.rules.timeout + self.rules.starting)
        except FederationError:
            for name, failure in self._roster.absent().items():
                self.fail(Envelope(self._run, HELLO, 0, SERVER), name, failure)
            raise

    def ask(self, phase: str, round: int, payloads: Mapping[str, Mapping[str, bytes]]) -> GridPending:
        """Send one message to each client named in `payloads`. Raises FederationError for a name nobody has."""
        if unknown := sorted(payloads.keys() - self._all):
            raise FederationError(f"round {round}, phase {phase}: no client is named {unknown[0]!r}")
        self._roster.look()
        envelope = Envelope(self._run, phase, round, SERVER)
        alike = {id(payload): Known(payload) for payload in payloads.values()}  # a broadcast is one payload for many
        ordered = {name: alike[id(payloads[name])] for name in sorted(payloads)}
        self._latest = Heard(self._journal(round), phase)
        return GridPending(self, envelope, ordered, self._latest)

    def void(self) -> None:
        """Forget the replies of the latest phase, so that a resumed run asks for them again.

        It is for a run that ended over what was in them. Earlier phases are over for the clients.
        """
        if self._latest:
            self._latest.void()

    def answered(self, envelope: Envelope, names: Collection[str], least: int) -> None:
        """Keep who answered a phase, of whom so many at least must be of use."""
        self._answered[envelope.phase, envelope.round] = set(names), least

    def drop(self, phase: str, round: int, faults: Mapping[str, str]) -> None:
        """See Exchange.drop."""
        failures = {name: Failure(Code.MALFORMED, faults[name]) for name in sorted(faults)}
        for name, failure in failures.items():
            self.miss(Missing(party=name, round=round, phase=phase, why=str(failure)))
        left, least = self._answered[phase, round]
        left.difference_update(failures)
        if len(left) < least:
            refuse(Envelope(self._run, phase, round, SERVER), failures)

    def asking(self, envelope: Envelope, payloads: Mapping[str, Mapping[str, bytes]], timing: Timing) -> Asking[str]:
        """Send one message each to the clients named in `payloads`, by the rules."""
        sealed = Sealed(self._binding)

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
            seconds=self.rules.seconds,
            window=window,
            limit=self.rules.message_bytes,
            clock=timing.clock,
            is_back=self._is_back,
            authenticate=sealed.fault,
            explain=partial(self._explain, envelope),
        )

    def _explain(self, envelope: Envelope, name: str, failure: Failure) -> Failure:
        """Return a failure with its cause, where that may be known. Raises InputError where the user's input is it."""
        error = self._cause(name, failure.detail) if self._cause and failure.code is Code.FAILED else None
        if isinstance(error, InputError):
            self.fail(envelope, name, replace(failure, cause=str(error)))
            raise InputError(f"client {name!r}: {error}")
        return failure if error is None else replace(failure, cause=str(error))

    def fetch(self, name: str, asked: Envelope, what: What, deadline: float) -> bytes:
        """Return a piece of a client's last reply.

        Raises FetchError where it is another or has not come by `deadline` on the monotonic clock.
        """
        envelope, left = Envelope(asked.run, FETCH, asked.round, SERVER), deadline - time.monotonic()
        pieces: list[bytes] = []
        sealed, payload = Sealed(self._binding), what.encode()
        if left <= 0:
            raise FetchError(self.silent(name))

        def hear(name: str, reply: Reply) -> Failure | None:
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
            limit=self.rules.message_bytes,
            is_back=self._is_back,
            authenticate=sealed.fault,
        )
        for failure in asking.wait(hear).values():
            raise FetchError(failure if failure.code is not Code.SILENT else self.silent(name))
        return pieces[0]

    def silent(self, name: str) -> Failure:
        """Return that a client did not answer in its time."""
        return Failure(Code.SILENT, f"{self.rules.seconds(name):g}")

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
        if self._emit:
            where = {"party": client, "round": envelope.round, "phase": envelope.phase}
            self._emit({"kind": "message", **where, "direction": direction, "bytes": size})

    def catch_up(self, envelope: Envelope, client: str, asked: Payload, reply: Payload) -> None:
        """Enter what the journal has and the ledger lacks: a crash came between the two, or lines are lost."""
        if not self.ledger.has(envelope.round, envelope.phase, SERVER, client):
            self.record(envelope, client, "down", asked)
        if not self.ledger.has(envelope.round, envelope.phase, client, SERVER):
            self.record(envelope, client, "up", reply)

    def miss(self, missing: Missing) -> None:
        """Put on record who was missing."""
        if self._on_missing:
            self._on_missing(missing)

    def fail(self, envelope: Envelope, name: str, failure: Failure) -> None:
        """Announce over which client, and what of it, a run ends."""
        if self._emit:
            where = {"party": name, "round": envelope.round, "phase": envelope.phase}
            self._emit({"kind": "failure", **where, "why": str(failure)})

    def timed(self, times: ExchangeTime | None) -> None:
        """Put on record how long the messages of a phase took, where any were sent."""
        if self._on_timed and times is not None:
            self._on_timed(times)


class GridPending:
    """Messages that are under way, but for those whose replies were heard before the run was resumed."""

    def __init__(
        self, exchange: GridExchange, envelope: Envelope, payloads: Mapping[str, Mapping[str, bytes]], heard: Heard
    ) -> None:
        """Send what has no reply yet. Of a phase that is over, that is a reply which is lost."""
        self._exchange, self._envelope, self._heard = exchange, envelope, heard
        missing = heard.missing(payloads)
        self._missing = missing or {}
        self._room, self._look = KEPT, None
        self._known: dict[str, Known] = {}
        for name in sorted(payloads.keys() - self._missing.keys()):
            reply = heard.reply(name)
            if reply is not None and self._fault(name, reply) is None:
                exchange.catch_up(envelope, name, payloads[name], reply)
                self._keep(name, reply)
        self._least = exchange.rules.least(len(payloads))
        self._large: dict[str, dict[str, int]] = {}
        rest = {name: payloads[name] for name in payloads.keys() - self._known.keys() - self._missing.keys()}
        self._lost = frozenset() if missing is None else frozenset(rest)
        self._over = missing is not None and not rest
        self._timing = Timing()
        self._asking = exchange.asking(envelope, {name: rest[name] for name in sorted(rest)}, self._timing)

    def wait(self, look: Look | None = None) -> dict[str, Payload]:
        """Return the replies by client name, sorted; to be called once. See Pending.wait.

        Every client gets until its deadline, also where another has failed. Raises FederationError, naming all that
        failed or stayed silent, where fewer than a quorum answered.
        """
        if look:
            for name, reply in self._known.items():
                look(name, reply)
        self._look = look
        if not self._over:
            self._timing.wait()
            failures = self._asking.wait(self._hear)
            for name in sorted(self._large):
                if failure := self._fetch(name, self._large[name]):
                    failures[name] = failure
            failures |= {name: Failure(Code.ABSENT) for name in failures if not self._exchange.is_there(name)}
            if len(self._known) < self._least:
                for name in sorted(failures):
                    self._exchange.fail(self._envelope, name, failures[name])
                refuse(self._envelope, failures, self._lost)
            new = {name: _told(name, failures[name], self._lost) for name in failures}
            self._missing = dict(sorted({**self._missing, **new}.items()))
            self._heard.close(self._missing)
            self._exchange.timed(self._timing.told(self._envelope.round, self._envelope.phase, self._known))
        for name, why in self._missing.items():
            self._exchange.miss(Missing(party=name, round=self._envelope.round, phase=self._envelope.phase, why=why))
        self._exchange.answered(self._envelope, self._known, self._least)
        return {name: self._known[name] for name in sorted(self._known)}

    def _hear(self, name: str, reply: Reply) -> Failure | None:
        self._timing.hear(name, reply[0].seconds)
        outcome = admit(self._exchange.guard, name, reply, self._exchange.rules.reply_bytes)
        if isinstance(outcome, Failure):
            return outcome
        if outcome is not None:
            self._large[name] = outcome
        else:
            self._heard.keep(name, reply[1])
            self._put_on_record(name, reply[1])
        return None

    def _fault(self, name: str, payload: Payload) -> Failure | None:
        return fault(self._exchange.guard, name, self._envelope, payload)

    def _fetch(self, name: str, sizes: Mapping[str, int]) -> Failure | None:
        """Fetch a large reply piece by piece, straight to disk; all pieces together have the time of one reply."""
        deadline = time.monotonic() + self._exchange.rules.seconds(name)
        pieces = {kind: self._pieces(name, kind, sizes[kind], deadline) for kind in sizes}
        try:
            with self._timing.fetching(name):
                self._heard.keep_pieces(name, pieces)
        except FetchError as error:
            return error.failure
        reply = self._heard.reply(name)
        assert reply is not None
        with self._timing.clock.halted():
            if refused := self._fault(name, reply):
                return refused
            self._put_on_record(name, reply)
        return None

    def _pieces(self, name: str, kind: str, size: int, deadline: float) -> Iterator[bytes]:
        for start in range(0, size, PIECE):
            what = What(self._envelope.phase, kind, start, min(PIECE, size - start))
            yield self._exchange.fetch(name, self._envelope, what, deadline)

    def _put_on_record(self, name: str, checked: Known) -> None:
        self._exchange.record(self._envelope, name, "up", checked)
        if self._look:
            self._look(name, checked)
        self._keep(name, checked)

    def _keep(self, name: str, checked: Known) -> None:
        """Keep a reply, which lies in the journal, and what the check made of it as far as there is room."""
        reply = self._heard.reply(name)
        assert reply is not None
        for what, made in checked.made.items():
            if (size := checked.size(what) if what in checked else 0) <= self._room:  # beside parts there are numbers
                self._room -= size
                reply.keep(what, made)
        reply.settle()
        self._known[name] = reply


class UnansweredError(FederationError):
    """Fewer clients than the quorum answered."""


class FetchError(Exception):
    """A piece did not come."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def refuse(expected: Envelope, failures: Mapping[str, Failure], lost: Collection[str] = ()) -> None:
    """Raise FederationError naming every failure; return where there is none."""
    if failures:
        told = "; ".join(f"client {key!r}: {_told(key, failure, lost)}" for key, failure in failures.items())
        raise UnansweredError(f"round {expected.round}, phase {expected.phase}: {told}")


def _told(name: str, failure: Failure, lost: Collection[str]) -> str:
    """Return why there is no reply; of `lost` clients the reply was there once."""
    before = "its reply in the server's journal is damaged or gone, and asked again: " if name in lost else ""
    return f"{before}{failure}"
