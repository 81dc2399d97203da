"""Private samples as a message part: for a host that says `pools_private`, and refused on every other."""

from lada.codecs import samples
from lada.core.errors import FederationError
from lada.core.terms import Sample
from lada.hosts.base import Payload
from lada.hosts.party import Party

SAMPLES = samples.KIND


def hear_samples(party: Party, payload: Payload) -> tuple[Sample, ...]:
    """Return the samples of a message. Raises CodecError for other bytes."""
    return samples.decode(payload[SAMPLES], limit=party.limits.table_bytes)[2]


def check_samples(party: Party, sender: str, round: int, payload: Payload) -> None:
    """Raise CodecError or FederationError unless `payload` holds samples that `sender` tells in this round."""
    if samples.decode(payload[SAMPLES], limit=party.limits.table_bytes)[:2] != (sender, round):
        raise FederationError("samples: of another party or round than the message")
