"""Samples as bytes: a host that is an upper bound pools them; no real federation sends them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lada.codecs.base import CODECS, Codec, Outlook, Reading, Text, Words
from lada.codecs.likelihoods import ID
from lada.codecs.table import LIMIT, Field, count, pack, signature, signed, unpack
from lada.core.errors import FederationError
from lada.core.needs import State
from lada.core.plural import counted
from lada.core.terms import Sample

KIND = "samples"
HARDEST = 10_000
"""The most steps of a sample."""
FIELDS = (
    ID,
    Field("question", "string", nullable=False),
    Field("answer", "string"),
    Field("rationale", "string"),
    Field("domain", "string", nullable=False),
    Field("difficulty", "int32"),
    Field("entry", "string"),
)


class Pooled(NamedTuple):
    """Samples, with their sender and round."""

    party: str
    round: int
    samples: tuple[Sample, ...]


def encode(party: str, round: int, samples: Sequence[Sample]) -> bytes:
    """Return samples as bytes, with their sender and round. Raises CodecError for a duplicate id."""
    columns = {field.name: [getattr(sample, field.name) for sample in samples] for field in FIELDS}
    return pack(KIND, FIELDS, columns, signed(party, round))


def decode(data: bytes, *, limit: int | None = LIMIT) -> Pooled:
    """Return party, round and samples, in the order of `encode`. The caller must check party and round.

    `limit` is the most bytes before compression (None: any number). Raises CodecError, and nothing else, for anything
    that `encode` would not write.
    """
    columns, header = unpack(data, KIND, FIELDS, known_ids=None, limit=limit)
    rows = zip(*(columns[field.name] for field in FIELDS), strict=True)
    return Pooled(*signature(KIND, header), tuple(Sample(*row) for row in rows))


@CODECS.register(KIND, tags=("labels",))
class Samples(Codec[Pooled, Pooled]):
    """Private samples as they are, for a host that pools them; every other host refuses them."""

    kind = KIND
    private = True

    def encode(self, state: State, value: Pooled) -> tuple[State, bytes]:
        """See Codec.encode."""
        return state, encode(*value)

    def decode(self, data: bytes, reading: Reading) -> Pooled:
        """See Codec.decode."""
        return decode(data, limit=reading.receiver.limits.table_bytes)

    def check(self, received: Pooled, reading: Reading) -> None:
        """See Codec.check. No text may be longer than a path may be, and a difficulty is a number of steps."""
        if (received.party, received.round) != (reading.sender, reading.round):
            raise FederationError("samples: of another party or round than the message")
        longest = reading.receiver.limits.path_chars
        for sample in received.samples:
            texts = (sample.id, sample.question, sample.answer, sample.rationale, sample.domain)
            if any(text is not None and len(text) > longest for text in texts):
                raise FederationError(
                    f"samples: a text of more than limits.path_chars, {counted(longest, 'character')}"
                )
            if not 0 <= (sample.difficulty or 0) <= HARDEST:
                raise FederationError(f"samples: a difficulty that is not in 0..{HARDEST}")

    def describe(self, data: bytes) -> int:
        """See Codec.describe."""
        return count(data, KIND)

    def claims(self, received: Pooled) -> Iterator[int]:
        """See Codec.claims."""
        yield len(received.samples)

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        return len(encode(outlook.sender, 0, outlook.private))

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        for sample in decode(data).samples:
            yield from (("a sample", text, True) for text in (sample.question, sample.rationale, sample.answer) if text)
