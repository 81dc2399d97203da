"""How many private samples a client has: what it says first holds for the whole run, since it weighs its adapter.

Where the configuration says who has how many, as on one machine, the first word has to be that number.
"""

from lada.codecs import adapters
from lada.core.errors import FederationError
from lada.rounds.averaging import ADAPTER
from lada.rounds.base import Payload
from lada.rounds.party import Party
from lada.rounds.pooling import SAMPLES, hear_samples
from lada.rounds.reports import METRICS, told_report

CLAIM = "private samples of"
"""In the server's memory, with the name of a client: how many it said that it has."""


def check_claim(party: Party, sender: str, _round: int, payload: Payload) -> None:
    """Raise FederationError where a client says of its private samples what is not so, or not what it said before."""
    if party.role != "server":
        return
    told = _claims(party, payload)
    known = party.memory.get(f"{CLAIM} {sender}")
    first = party.samples_of(sender) if known is None else int(known)
    if told and {*told, told[0] if first is None else first} != {told[0]}:
        raise FederationError("samples: not as many as the client has, or as it said before")


def remember(party: Party, sender: str, payload: Payload) -> None:
    """Keep what a client said first of its private samples; its message was checked."""
    if party.role == "server" and f"{CLAIM} {sender}" not in party.memory and (told := _claims(party, payload)):
        party.memory[f"{CLAIM} {sender}"] = str(told[0]).encode()


def _claims(party: Party, payload: Payload) -> list[int]:
    """Return all that a message says of how many private samples its sender has."""
    told = []
    if ADAPTER in payload:
        told.append(adapters.count(payload[ADAPTER]))
    if SAMPLES in payload:
        told.append(len(hear_samples(party, payload)))
    if METRICS in payload:
        told += [row.private_samples for row in told_report(party, payload).parties]
    return told
