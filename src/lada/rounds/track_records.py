"""Each client's record in a round (see lada.rounds.trust), taken when its reply has just been checked.

All records are compared before any path is believed. Taken then, they cost no reply a second reading, and no more of
one stays in memory than three numbers.
"""

from contextlib import suppress

from lada.core.terms import Knowledge
from lada.rounds.base import Payload
from lada.rounds.knowledge import read_knowledge
from lada.rounds.party import Party
from lada.rounds.trust import Record, keep_first, record, reference


class Records:
    """The records of the clients that send paths, by what a server holds these against."""

    def __init__(self, party: Party, mine: Knowledge) -> None:
        """`mine` is what the party itself answers in this round."""
        keep_first(party, mine)
        self._party, self._reference = party, reference(party)
        self._taken: dict[str, Record] = {}

    def look(self, client: str, reply: Payload) -> None:
        """Take a client's record; see Look. One that cannot be taken is tried again when it is asked for."""
        with suppress(Exception):
            self._taken[client] = self._record(reply)

    def of(self, client: str, reply: Payload) -> Record:
        """Return a client's record. Raises what reading the reply raises."""
        return self._taken.get(client) or self._record(reply)

    def _record(self, reply: Payload) -> Record:
        return record(self._party, read_knowledge(self._party, reply, "paths"), self._reference)
