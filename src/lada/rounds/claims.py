"""How many private samples a client has: what it says first holds for the whole run, since it weighs its adapter.

Where the configuration says who has how many, as on one machine, the first word has to be that number.
"""

from lada.codecs.base import Reading
from lada.core.errors import FederationError
from lada.rounds.party import Party

CLAIM = "private samples of"
"""In the server's memory, with the name of a client: how many it said that it has."""


def check_claims(party: Party, reading: Reading) -> None:
    """Raise FederationError where a client says of its private samples what is not so, or not what it said before."""
    if party.role != "server":
        return
    received, sender = _claims(reading), reading.sender
    known = party.memory.get(f"{CLAIM} {sender}")
    first = party.samples_of(sender) if known is None else int(known)
    if received and {*received, received[0] if first is None else first} != {received[0]}:
        raise FederationError("samples: not the number that the client has, or that it claimed before")


def remember(party: Party, reading: Reading) -> None:
    """Keep what a client said first of its private samples; its message was checked."""
    key = f"{CLAIM} {reading.sender}"
    if party.role == "server" and key not in party.memory and (received := _claims(reading)):
        party.memory[key] = str(received[0]).encode()


def _claims(reading: Reading) -> list[int]:
    """Return all that a message says of how many private samples its sender has."""
    return [claim for kind in reading.payload for claim in reading.codecs[kind].claims(reading.part(kind))]
