"""What a round is made of: steps of the server and of its clients, and the messages between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from lada.core.terms import Verb

if TYPE_CHECKING:
    from lada.rounds.party import Party

Payload = Mapping[str, bytes]
"""What one message carries: encoded knowledge by kind, such as `paths` or `metrics`."""
Look = Callable[[str, Payload], None]
"""Takes a client's name and its reply, which was checked. It does not raise."""


@dataclass(frozen=True, slots=True)
class MessageSchema:
    """Which kinds a message has: those that it must have and those that it may."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()

    def __or__(self, other: MessageSchema) -> MessageSchema:
        """Return the kinds of both."""
        return MessageSchema(self.required | other.required, self.optional | other.optional)


@dataclass(frozen=True, slots=True)
class Phase:
    """What a client is sent in a phase, and what it replies with. Messages with other kinds are refused."""

    asks: MessageSchema = MessageSchema()
    replies: MessageSchema = MessageSchema()


class Pending(Protocol):
    """An ask that is under way; the server may work on until it needs the replies."""

    def wait(self, look: Look | None = None) -> dict[str, Payload]:
        """Return the replies by client name, sorted: of those who answered in time.

        `look` is given each reply once, in any order, as soon as it has been checked: what the check made of it is at
        hand then, and later only as far as there is room.
        Raises FederationError when they are fewer than the quorum. Whoever is missing is to be left alone for the rest
        of the round: it may still be at this phase.
        """
        ...


class Exchange(Protocol):
    """How a server half reaches its clients, whatever carries the messages."""

    clients: tuple[str, ...]
    """The clients that take part in the round, sorted by name."""

    def ask(self, phase: str, round: int, payloads: Mapping[str, Payload]) -> Pending:
        """Send one message to each client named in `payloads`; it runs the host's client half for `phase`."""
        ...

    def drop(self, phase: str, round: int, faults: Mapping[str, str]) -> None:
        """Put clients on record as missing whose replies cannot be used; `faults` say why, by name.

        Raises FederationError where those that are left of the phase are fewer than the quorum.
        """
        ...


T = TypeVar("T")
Side = Literal["server", "client"]


class Slot(Generic[T]):
    """The name of something that one step of a round leaves for a later one, and its type."""

    def __init__(self, name: str) -> None:
        self.name = name


class Turn:
    """What a party has in hand: the server in a round, a client in one phase of it.

    What a client needs in a later phase it keeps in its memory, since it may be another process by then.
    """

    def __init__(self, party: Party, round: int, *, received: Payload | None = None, exchange: Exchange | None = None):
        self.party, self.round = party, round
        self.received: Payload = received or {}
        """At a client: what the server sent."""
        self.outbox: dict[str, bytes] = {}
        """What is sent next: with a client's reply, or by the server to all clients that are still there."""
        self.phase = ""
        """At the server: the phase that clients were asked for last."""
        self.replies: dict[str, Payload] = {}
        """At the server: their replies by name, sorted; a step leaves out those that it cannot use."""
        self._exchange = exchange
        self._slots: dict[Slot[Any], Any] = {}

    @property
    def exchange(self) -> Exchange:
        """How the server reaches the clients. Raises LookupError at a client."""
        if self._exchange is None:
            raise LookupError(f"{self.party.name} is a client and asks no other party")
        return self._exchange

    def __getitem__(self, slot: Slot[T]) -> T:
        """Return what a step before left. Raises LookupError where none did."""
        if slot not in self._slots:
            raise LookupError(f"no earlier step of {self.party.name} left its {slot.name}")
        return self._slots[slot]

    def __setitem__(self, slot: Slot[T], value: T) -> None:
        """Leave something for a later step."""
        self._slots[slot] = value


Act = Callable[[Turn], None]


def nothing(_: Turn) -> None:
    """Do nothing: another step does the work, and this one is listed by itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the server, or each client, does in a round: it can be described before the run, and run."""

    side: Side
    phase: str = ""
    """What it is timed as; empty for what no plan lists, since it asks nothing of a learner and sends nothing large."""
    verb: Verb | None = None
    """What is asked of the learner; None: nothing."""
    samples: Literal["public", "private", "test", "lessons"] = "public"
    """What it works on; `lessons` are what an allocator chose."""
    study: Literal["private", "distil"] | None = None
    """Whose options hold for a study."""
    part: tuple[float, float] = (0.0, 1.0)
    """The part of that study's steps that it takes, from and to (lada.rounds.steps.part_of); by default all."""
    sends: tuple[str, ...] = ()
    """Kinds of knowledge that it is expected to send to the server, or to every client."""
    kinds: MessageSchema = MessageSchema()
    """At a client: what it adds to the kinds of its reply."""
    run: Act = field(default=nothing, compare=False)
    """Does it."""

    @property
    def is_told(self) -> bool:
        """Whether the step takes time of a learner, or bytes worth counting."""
        return self.verb is not None or bool(self.sends)


def to_all(turn: Turn) -> Mapping[str, Payload]:
    """Return what is in the server's outbox for each client that is still there."""
    there = turn.replies if turn.phase else turn.exchange.clients
    return dict.fromkeys(there, turn.outbox)


def to_nobody(_: Turn) -> Mapping[str, Payload]:
    """Return nothing: a step of the server asks by itself, for it needs what it received at once."""
    return {}


@dataclass(frozen=True, slots=True)
class Ask:
    """The server begins a phase: what follows at the clients' side, up to the next one, is what they do in it."""

    phase: str
    kinds: MessageSchema = MessageSchema()
    """Of what the server sends."""
    send: Callable[[Turn], Mapping[str, Payload]] = to_all
    """Returns it by client. Nobody is asked where that is empty."""


@dataclass(frozen=True, slots=True)
class Receive:
    """The server waits for the replies to what it asked, and adds the reports in them to its own."""

    look: Callable[[Turn], Look | None] = lambda _: None
    """Returns what looks at each reply as soon as it was checked."""


Round = tuple[Step | Ask | Receive, ...]
"""What happens in a round, in order. What the two sides do between an Ask and its Receive, they do at the same time."""
