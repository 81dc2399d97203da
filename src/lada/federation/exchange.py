"""Implements lada.rounds.base.Exchange, through which the server reaches the clients, over any Flower Grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from lada.core.errors import FederationError
from lada.core.known import Known
from lada.core.results import Missing
from lada.federation.channel import Channel
from lada.federation.failures import Failure
from lada.federation.messages import HELLO, SERVER, Code, Envelope
from lada.federation.pending import GridPending, refuse
from lada.federation.received import ReceivedReplies
from lada.federation.roster import Roster

if TYPE_CHECKING:
    from flwr.serverapp import Grid

    from lada.federation.ledger import Ledger
    from lada.federation.session import Session


class GridExchange:
    """The clients by name, over a grid."""

    def __init__(self, grid: Grid, clients: Collection[str], session: Session, ledger: Ledger) -> None:
        self.clients = tuple(sorted(clients))
        self._session, self._all = session, frozenset(clients)
        self._roster = Roster(grid, clients, run=session.run, terms=session.terms, binding=session.binding)
        self._channel = Channel(grid, self._roster, session, ledger)
        self._latest: ReceivedReplies | None = None

    @property
    def ledger(self) -> Ledger:
        """What crossed."""
        return self._channel.ledger

    def connect(self) -> None:
        """Wait for the clients. Raises FederationError if no quorum connects within the rules' timeout."""
        rules = self._session.rules
        try:
            self._roster.wait(rules.least(len(self.clients)), rules.timeout + rules.starting)
        except FederationError:
            for name, failure in self._roster.absent().items():
                self._channel.fail(Envelope(self._session.run, HELLO, 0, SERVER), name, failure)
            raise

    def ask(self, phase: str, round: int, payloads: Mapping[str, Mapping[str, bytes]]) -> GridPending:
        """Send one message to each client named in `payloads`. Raises FederationError for an unknown name."""
        if unknown := sorted(payloads.keys() - self._all):
            raise FederationError(f"round {round}, phase {phase}: no client is named {unknown[0]!r}")
        self._roster.look()
        envelope = Envelope(self._session.run, phase, round, SERVER)
        alike: dict[frozenset[tuple[str, int]], Known] = {}  # a broadcast has the same parts for many clients
        ordered = {name: alike.setdefault(_parts(payloads[name]), Known(payloads[name])) for name in sorted(payloads)}
        self._latest = ReceivedReplies(self._session.journal(round), phase)
        return GridPending(self._channel, envelope, ordered, self._latest)

    def void(self) -> None:
        """Forget the replies of the latest phase, so that a resumed run asks for them again.

        Use it if the content of the replies ended the run. Earlier phases are over for the clients.
        """
        if self._latest:
            self._latest.void()

    def drop(self, phase: str, round: int, faults: Mapping[str, str]) -> None:
        """See Exchange.drop."""
        failures = {name: Failure(Code.MALFORMED, faults[name]) for name in sorted(faults)}
        for name, failure in failures.items():
            self._channel.miss(Missing(party=name, round=round, phase=phase, why=str(failure)))
        left, least = self._channel.answers[phase, round]
        left.difference_update(failures)
        if len(left) < least:
            refuse(Envelope(self._session.run, phase, round, SERVER), failures)


def _parts(payload: Mapping[str, bytes]) -> frozenset[tuple[str, int]]:
    """Return a key that is equal for payloads whose parts are the same objects."""
    return frozenset((kind, id(data)) for kind, data in payload.items())
