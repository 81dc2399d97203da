"""Private samples as a message part: for a host that says `pools_private`, and refused on every other."""

from lada.codecs import samples
from lada.core.errors import FederationError
from lada.core.known import read
from lada.core.plural import counted
from lada.core.terms import Sample
from lada.rounds.base import Payload
from lada.rounds.party import Party

SAMPLES = samples.KIND
HARDEST = 10_000
"""Most steps of a sample."""


def hear_samples(party: Party, payload: Payload) -> tuple[Sample, ...]:
    """Return the samples of a message. Raises CodecError for other bytes."""
    return _told(party, payload)[2]


def _told(party: Party, payload: Payload) -> tuple[str, int, tuple[Sample, ...]]:
    """Return of whom and of which round the samples of a message are, and these."""
    return read(payload, SAMPLES, lambda: samples.decode(payload[SAMPLES], limit=party.limits.table_bytes))


def check_samples(party: Party, sender: str, round: int, payload: Payload) -> None:
    """Raise CodecError or FederationError unless `payload` holds samples that `sender` tells in this round.

    No text is longer than a path may be, and a difficulty is a count of steps.
    """
    told, of, found = _told(party, payload)
    if (told, of) != (sender, round):
        raise FederationError("samples: of another party or round than the message")
    longest = party.limits.path_chars
    for sample in found:
        texts = (sample.id, sample.question, sample.answer, sample.rationale, sample.domain)
        if any(text is not None and len(text) > longest for text in texts):
            raise FederationError(f"samples: a text of more than limits.path_chars, {counted(longest, 'character')}")
        if not 0 <= (sample.difficulty or 0) <= HARDEST:
            raise FederationError(f"samples: a difficulty that is not in 0..{HARDEST}")
