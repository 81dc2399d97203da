"""A client's claimed number of private samples. The first claim holds for the whole run, since it weights its adapter.

If the configuration fixes the number, as on one machine, the claim must match it.
"""

from lada.codecs.base import Reading
from lada.core.errors import FederationError
from lada.rounds.party import Party

CLAIM = "private samples of"
"""In the server's memory, with a client's name: its claimed number of private samples."""


def check_claims(party: Party, reading: Reading) -> None:
    """Raise FederationError if a client's claim about its private samples is false or differs from an earlier one."""
    if party.role != "server":
        return
    received, sender = _claims(reading), reading.sender
    known = party.memory.get(f"{CLAIM} {sender}")
    first = party.samples_of(sender) if known is None else int(known)
    if received and {*received, received[0] if first is None else first} != {received[0]}:
        raise FederationError("samples: not the number that the client has, or that it claimed before")


def remember(party: Party, reading: Reading) -> None:
    """Keep a client's first claim about its private samples; its message has been checked."""
    key = f"{CLAIM} {reading.sender}"
    if party.role == "server" and key not in party.memory and (received := _claims(reading)):
        party.memory[key] = str(received[0]).encode()


def _claims(reading: Reading) -> list[int]:
    """Return all claims in a message about its sender's number of private samples."""
    return [claim for kind in reading.payload for claim in reading.codecs[kind].claims(reading.part(kind))]
