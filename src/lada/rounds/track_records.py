"""Each client's record in a round (see lada.rounds.trust), taken right after its reply is checked.

All records are compared before any path is trusted. Taken at that point, they need no second reading of a reply, and
only three numbers of each stay in memory.
"""

from contextlib import suppress

from lada.core.terms import Knowledge
from lada.rounds.base import Payload
from lada.rounds.knowledge import read_knowledge
from lada.rounds.party import Party
from lada.rounds.trust import Record, keep_first, record, reference


class Records:
    """The records of the clients that send paths, against a server's reference."""

    def __init__(self, party: Party, mine: Knowledge) -> None:
        """`mine` is what the party itself answers in this round."""
        keep_first(party, mine)
        self._party, self._reference = party, reference(party)
        self._taken: dict[str, Record] = {}

    def look(self, client: str, reply: Payload) -> None:
        """Take a client's record; see Look. If this fails, it is tried again on request."""
        with suppress(Exception):
            self._taken[client] = self._record(reply)

    def of(self, client: str, reply: Payload) -> Record:
        """Return a client's record. Raises what reading the reply raises."""
        return self._taken.get(client) or self._record(reply)

    def _record(self, reply: Payload) -> Record:
        return record(self._party, read_knowledge(self._party, reply, "paths"), self._reference)
