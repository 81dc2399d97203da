"""Checks of another party's message before any of it is used: first its kinds, then each kind by its meaning.

A kind without a check is refused, so that a new one cannot be forgotten.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lada.codecs.base import Reading
from lada.core.errors import FederationError
from lada.rounds import claims
from lada.rounds.base import MessageSchema, Payload, Phase
from lada.rounds.engine import Rounds
from lada.rounds.party import Party
from lada.rounds.reports import METRICS, REPORT, check_rows
from lada.rounds.wire import reading

FINISH = "finish"
"""The last phase of every run: each client reports its final state."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Refuses messages that a party must not receive. Errors name fields and kinds, but nothing that was sent."""

    host: Rounds
    party: Party

    def phase(self, name: str, round: int) -> Phase:
        """Return the kinds of a phase's messages. Raises FederationError for a phase that the round does not have."""
        phases: Mapping[str, Phase] = {FINISH: Phase(replies=REPORT), **self.host.phases(round, self.party)}
        if name not in phases:
            raise FederationError(f"phase: expected one of {', '.join(sorted(phases))}")
        return phases[name]

    def check_reply(self, client: str, phase: str, round: int, payload: Payload) -> None:
        """Raise FederationError or CodecError unless `payload` is a valid reply of `client`."""
        read = self._read(client, self.phase(phase, round).replies, round, payload)
        if METRICS in payload:
            plan = () if phase == FINISH else self.host.plan(round, self.party.asking)
            steps = tuple(step for step in plan if step.side == "client")
            check_rows(read.payload, self.party, None if phase == FINISH else steps)
        claims.remember(self.party, read)

    def check_ask(self, server: str, phase: str, round: int, payload: Payload) -> None:
        """Raise FederationError or CodecError unless `payload` is something that the server may send."""
        self._read(server, self.phase(phase, round).asks, round, payload)

    def _read(self, sender: str, kinds: MessageSchema, round: int, payload: Payload) -> Reading:
        check_kinds(payload, kinds)
        return check_parts(self.party, sender, round, payload)


def check_parts(party: Party, sender: str, round: int, payload: Payload) -> Reading:
    """Read and return every part of a message from `sender`; the party does not change.

    Raises CodecError or FederationError for content that no honest party sends, and for a kind without a codec.
    """
    read = reading(party, payload, sender, round, party.limits.check_seconds)
    if unknown := [kind for kind in sorted(payload) if kind not in party.codecs]:
        raise FederationError(f"kinds: there is no check for {', '.join(unknown)}")
    for kind in sorted(payload, key=lambda kind: (party.codecs[kind].about_the_run, kind)):
        party.codecs[kind].check(read.part(kind), read)
    claims.check_claims(party, read)
    return read


def check_kinds(given: Collection[str], kinds: MessageSchema) -> None:
    """Raise FederationError unless a message has all required kinds, and no others than required and optional ones."""
    if lacking := sorted(kinds.required - set(given)):
        raise FederationError(f"kinds: {', '.join(lacking)} missing")
    if set(given) - kinds.required - kinds.optional:
        expected = ", ".join(sorted(kinds.required | kinds.optional)) or "none"
        raise FederationError(f"kinds: one does not belong to this phase; expected {expected}")
