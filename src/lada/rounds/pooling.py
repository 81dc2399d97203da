"""Private samples as a message part, for hosts that declare `pools_private`; other hosts refuse it."""

from lada.codecs import samples
from lada.core.terms import Sample
from lada.rounds.base import Payload
from lada.rounds.party import Party
from lada.rounds.wire import part

SAMPLES = samples.KIND


def receive_samples(party: Party, payload: Payload) -> tuple[Sample, ...]:
    """Return the samples of a message. Raises CodecError for other bytes."""
    return part(party, payload, SAMPLES).samples
