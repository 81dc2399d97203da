"""The parts of a round: steps of the server and of its clients, and the messages between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from lada.core.terms import Verb

if TYPE_CHECKING:
    from lada.rounds.party import Party

Payload = Mapping[str, bytes]
"""The content of one message: encoded knowledge by kind, such as `paths` or `metrics`."""
Look = Callable[[str, Payload], None]
"""Takes a client's name and its checked reply. It does not raise."""


@dataclass(frozen=True, slots=True)
class MessageSchema:
    """The kinds in a message: the required and the optional ones."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()

    def __or__(self, other: MessageSchema) -> MessageSchema:
        """Return the kinds of both."""
        return MessageSchema(self.required | other.required, self.optional | other.optional)


@dataclass(frozen=True, slots=True)
class Phase:
    """What a client receives in a phase, and what it replies. Messages with other kinds are refused."""

    asks: MessageSchema = MessageSchema()
    replies: MessageSchema = MessageSchema()


class Pending(Protocol):
    """An ask in progress. The server may continue to work until it needs the replies."""

    def wait(self, look: Look | None = None) -> dict[str, Payload]:
        """Return the replies by client name, sorted, of those that answered in time.

        `look` receives each reply once, in any order, right after its check. The decoded content is available then;
        later only if there is room. Raises FederationError if there are fewer replies than the quorum. Missing clients
        must not be asked again in this round, since they may still be in this phase.
        """
        ...


class Exchange(Protocol):
    """How a server half reaches its clients, whatever the transport."""

    clients: tuple[str, ...]
    """The clients that take part in the round, sorted by name."""

    def ask(self, phase: str, round: int, payloads: Mapping[str, Payload]) -> Pending:
        """Send one message to each client named in `payloads`; it runs the host's client half for `phase`."""
        ...

    def drop(self, phase: str, round: int, faults: Mapping[str, str]) -> None:
        """Record clients as missing whose replies are unusable; `faults` gives the reasons, by name.

        Raises FederationError if fewer clients than the quorum remain in the phase.
        """
        ...


T = TypeVar("T")
Side = Literal["server", "client"]


class Slot(Generic[T]):
    """The name and type of a value that one step of a round leaves for a later one."""

    def __init__(self, name: str) -> None:
        self.name = name


class Turn:
    """A party's working state: the server's in a round, or a client's in one phase.

    Between phases, a client keeps values in its memory, since the next phase may run in another process.
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
        """Return what an earlier step left. Raises LookupError if none did."""
        if slot not in self._slots:
            raise LookupError(f"no earlier step of {self.party.name} left its {slot.name}")
        return self._slots[slot]

    def __setitem__(self, slot: Slot[T], value: T) -> None:
        """Leave something for a later step."""
        self._slots[slot] = value


Act = Callable[[Turn], None]


def nothing(_: Turn) -> None:
    """Do nothing: another step does the work, and this one is only listed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the server, or each client, does in a round. It can be described before the run, and run."""

    side: Side
    phase: str = ""
    """The name under which it is timed. It is empty for steps that no plan lists, since they cost little."""
    verb: Verb | None = None
    """The verb asked of the learner; None means none."""
    samples: Literal["public", "private", "test", "lessons", "drafts", "validation"] = "public"
    """The samples that it works on: `lessons` are those that an allocator chose, `drafts` questions that an LLM writes,
    and `validation` public samples that are held out."""
    study: Literal["private", "distil"] | None = None
    """Whose study options apply."""
    part: tuple[float, float] = (0.0, 1.0)
    """The part of that study's steps, from and to (lada.rounds.steps.part_of); by default all."""
    sends: tuple[str, ...] = ()
    """Kinds of knowledge that it is expected to send to the server, or to every client."""
    kinds: MessageSchema = MessageSchema()
    """At a client: the kinds that it adds to its reply."""
    run: Act = field(default=nothing, compare=False)
    """The function that does it."""

    @property
    def is_told(self) -> bool:
        """Whether the step takes a learner's time, or sends a significant number of bytes."""
        return self.verb is not None or bool(self.sends)


def to_all(turn: Turn) -> Mapping[str, Payload]:
    """Return the server's outbox for each client that is still present."""
    there = turn.replies if turn.phase else turn.exchange.clients
    return dict.fromkeys(there, turn.outbox)


def to_nobody(_: Turn) -> Mapping[str, Payload]:
    """Return nothing: the server asks separately in a step, since it needs the replies at once."""
    return {}


@dataclass(frozen=True, slots=True)
class Ask:
    """The server begins a phase. The clients' steps up to the next Ask belong to it."""

    phase: str
    kinds: MessageSchema = MessageSchema()
    """The kinds that the server sends."""
    send: Callable[[Turn], Mapping[str, Payload]] = to_all
    """Returns the payloads by client. If empty, no client is asked."""


@dataclass(frozen=True, slots=True)
class Receive:
    """The server waits for the replies, and adds their reports to its own."""

    look: Callable[[Turn], Look | None] = lambda _: None
    """Returns the function that looks at each reply right after its check."""


Round = tuple[Step | Ask | Receive, ...]
"""The steps of a round, in order. Between an Ask and its Receive, both sides work at the same time."""
