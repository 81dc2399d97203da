"""What another party sent is checked whole before any of it is used: its kinds first, then each kind by its meaning.

A kind that nothing here checks is refused, so that a new one cannot be forgotten.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from lada.core.errors import FederationError
from lada.rounds import claims
from lada.rounds.averaging import ADAPTER, check_adapter
from lada.rounds.base import Kinds, Payload, Phase
from lada.rounds.engine import Rounds
from lada.rounds.knowledge import LIKELIHOODS, PATHS, SOFT, VOCABULARY, check_knowledge
from lada.rounds.party import Party
from lada.rounds.pooling import SAMPLES, check_samples
from lada.rounds.reports import METRICS, REPORT, TIMES, check_report, check_rows
from lada.rounds.secure import KEYS, MASKED, OPENED, SHARES, SURVIVORS, check_part

Check = Callable[[Party, str, int, Payload], None]
"""`check(party, sender, round, payload)` raises CodecError or FederationError and changes nothing."""

CHECKS: tuple[tuple[frozenset[str], Check], ...] = (
    (frozenset({PATHS, LIKELIHOODS, SOFT, VOCABULARY}), check_knowledge),
    (frozenset({METRICS, TIMES}), check_report),
    (frozenset({ADAPTER}), check_adapter),
    (frozenset({SAMPLES}), check_samples),
    (frozenset({KEYS, SHARES, MASKED, SURVIVORS, OPENED}), check_part),
    (frozenset({ADAPTER, METRICS, SAMPLES}), claims.check_claim),
)
FINISH = "finish"
"""The last phase of every run: each client says what it has become."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Refuses what a party is not to be sent. Errors name fields and kinds; they repeat nothing that was sent."""

    host: Rounds
    party: Party

    def phase(self, name: str, round: int) -> Phase:
        """Return what the messages of a phase hold. Raises FederationError for one that the round does not have."""
        phases: Mapping[str, Phase] = {FINISH: Phase(replies=REPORT), **self.host.phases(round, self.party)}
        if name not in phases:
            raise FederationError(f"phase: expected one of {', '.join(sorted(phases))}")
        return phases[name]

    def check_reply(self, client: str, phase: str, round: int, payload: Payload) -> None:
        """Raise FederationError or CodecError unless `payload` is a sound reply of `client`."""
        self._check(client, self.phase(phase, round).replies, round, payload)
        if METRICS in payload:
            plan = () if phase == FINISH else self.host.plan(round, self.party.objective)
            steps = tuple(step for step in plan if step.side == "client")
            check_rows(payload, self.party, None if phase == FINISH else steps)
        claims.remember(self.party, client, payload)

    def check_ask(self, server: str, phase: str, round: int, payload: Payload) -> None:
        """Raise FederationError or CodecError unless `payload` is what the server may send."""
        self._check(server, self.phase(phase, round).asks, round, payload)

    def _check(self, sender: str, kinds: Kinds, round: int, payload: Payload) -> None:
        check_kinds(payload, kinds)
        for group, check in CHECKS:
            if group & payload.keys():
                check(self.party, sender, round, payload)
        if unchecked := payload.keys() - frozenset[str]().union(*(group for group, _ in CHECKS)):
            raise FederationError(f"kinds: nothing checks {', '.join(sorted(unchecked))}")


def check_kinds(given: Collection[str], kinds: Kinds) -> None:
    """Raise FederationError unless a message has the kinds that it must have, and none that it may not."""
    if lacking := sorted(kinds.must - set(given)):
        raise FederationError(f"kinds: {', '.join(lacking)} missing")
    if set(given) - kinds.must - kinds.may:
        told = ", ".join(sorted(kinds.must | kinds.may)) or "none"
        raise FederationError(f"kinds: one that this phase does not have; expected {told}")
