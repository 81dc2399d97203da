"""Run, describe and check rounds, all from the single list of steps that a host gives for a round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lada.core.errors import FederationError
from lada.rounds.base import Ask, Exchange, MessageSchema, Payload, Pending, Phase, Receive, Round, Step, Turn

if TYPE_CHECKING:
    from lada.models.objective import Objective
    from lada.rounds.party import Party


class Rounds(ABC):
    """The rounds of a run. A round depends only on its number, on options and on the objective."""

    @abstractmethod
    def round(self, number: int, objective: Objective) -> Round:
        """Return the steps of a round (1, 2, …; round 0 only evaluates), in order.

        Raises InputError for an objective that does not work with the host.
        """

    def plan(self, round: int, objective: Objective) -> tuple[Step, ...]:
        """Return the steps of a round that take time of a learner or send knowledge, if everybody finds something to
        learn. Raises InputError as `round` does.
        """
        return tuple(each for each in self.round(round, objective) if isinstance(each, Step) and each.is_told)

    def phases(self, round: int, party: Party) -> Mapping[str, Phase]:
        """Return the phases of a round with the kinds of their messages, as `party` (either half) expects them."""
        return schema(self.round(round, party.asking))

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """Run the server half of a round."""
        from lada.rounds.reports import METRICS, collect  # here, since it computes

        turn, pending = Turn(party, round, exchange=exchange), None
        for each in self.round(round, party.asking):
            if isinstance(each, Ask):
                pending = _ask(turn, each)
            elif isinstance(each, Receive):
                if pending is not None:
                    turn.replies = pending.wait(each.look(turn))
                    collect(party, {name: reply for name, reply in turn.replies.items() if METRICS in reply})
                pending = None
            elif each.side == "server":
                each.run(turn)

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """Run the client half of one phase and return its reply. Raises FederationError for an unknown phase."""
        turn = Turn(party, round, received=payload)
        for asked, steps in by_phase(self.round(round, party.asking)):
            if asked.phase == phase:
                for step in steps:
                    step.run(turn)
                return turn.outbox
        raise FederationError(f"phase: round {round} has no phase {phase!r}")


def schema(round: Iterable[Step | Ask | Receive]) -> dict[str, Phase]:
    """Return the phases of a round with the kinds of their messages."""
    return {asked.phase: Phase(asked.kinds, _all(step.kinds for step in steps)) for asked, steps in by_phase(round)}


def by_phase(round: Iterable[Step | Ask | Receive]) -> Iterator[tuple[Ask, list[Step]]]:
    """Yield each phase with a client's steps in it."""
    asked: Ask | None = None
    steps: list[Step] = []
    for each in round:
        if isinstance(each, Ask):
            if asked is not None:
                yield asked, steps
            asked, steps = each, []
        elif isinstance(each, Step) and each.side == "client":
            steps.append(each)
    if asked is not None:
        yield asked, steps


@dataclass(frozen=True, slots=True)
class Row:
    """A section of a round: the clients' steps in a phase and the server's meanwhile, or the server's between two."""

    phase: str
    """Empty between two phases."""
    client: tuple[Step, ...]
    server: tuple[Step, ...]


def rows(round: Iterable[Step | Ask | Receive]) -> list[Row]:
    """Return a round for display, in order, without sections that take no time."""
    stretches: list[tuple[str, list[Step]]] = [("", [])]
    for each in round:
        if isinstance(each, Step):
            stretches[-1][1].append(each)
        else:
            stretches.append((each.phase if isinstance(each, Ask) else "", []))
    received = (
        Row(phase, *(tuple(s for s in steps if s.side == side and s.is_told) for side in ("client", "server")))
        for phase, steps in stretches
    )
    return [row for row in received if row.phase or row.server]


def _ask(turn: Turn, asked: Ask) -> Pending | None:
    """Send the messages; None if no client is asked."""
    payloads = asked.send(turn)
    if not payloads:
        return None
    turn.phase, turn.outbox = asked.phase, {}
    return turn.exchange.ask(asked.phase, turn.round, payloads)


def _all(kinds: Iterable[MessageSchema]) -> MessageSchema:
    result = MessageSchema()
    for each in kinds:
        result |= each
    return result
