"""The contract of a round: its phases, what their messages hold, and how a server half reaches its clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from lada.core.terms import Verb

if TYPE_CHECKING:
    from lada.models.objective import Objective
    from lada.rounds.party import Party

Payload = Mapping[str, bytes]
"""What one message carries: encoded knowledge by kind, such as `paths` or `metrics`."""
Look = Callable[[str, Payload], None]
"""Takes a client's name and its reply, which was checked. It does not raise."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which kinds a message has: those that it must have and those that it may."""

    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()

    def __or__(self, other: Kinds) -> Kinds:
        """Return the kinds of both."""
        return Kinds(self.must | other.must, self.may | other.may)


@dataclass(frozen=True, slots=True)
class Phase:
    """What a client is sent in a phase, and what it replies with. Messages with other kinds are refused."""

    asks: Kinds = Kinds()
    replies: Kinds = Kinds()


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
        """Put clients on record as missing that answered a phase with what cannot be used; `faults` say why, by name.

        Raises FederationError where those that are left of the phase are fewer than the quorum.
        """
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the server, or each client, does in a round, as it can be told before the run."""

    side: Literal["server", "client"]
    phase: str
    """What it is timed as."""
    verb: Verb | None
    """What is asked of the learner; None: nothing."""
    samples: Literal["public", "private", "test", "lessons"]
    """What it works on; `lessons` are what an allocator chose."""
    study: Literal["private", "distil"] | None = None
    """Whose options hold for a study."""
    part: tuple[float, float] = (0.0, 1.0)
    """From where to where it goes through that study's steps (lada.rounds.steps.part_of); all of them."""
    sends: tuple[str, ...] = ()
    """Kinds of knowledge that then go to the server, or to every client."""


class Rounds(Protocol):
    """What happens in the rounds of a run, in a server half and a client half."""

    def phases(self, party: Party) -> Mapping[str, Phase]:
        """Return the phases of a round with the kinds of their messages, as `party` (either half) expects them."""
        ...

    def plan(self, round: int, objective: Objective) -> tuple[Step, ...]:
        """Return what happens in a round, in order, if everybody finds something to learn.

        Raises InputError for an objective that the host cannot work with.
        """
        ...

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """Run the server half of one round (1, 2, …; round 0 only evaluates)."""
        ...

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """Run the client half of one phase and return its reply."""
        ...
