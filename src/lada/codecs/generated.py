"""Generated public samples with their origins, as bytes: the whole pool, as the server has it."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lada.codecs.base import CODECS, Codec, Reading, Text, Words
from lada.codecs.likelihoods import ID
from lada.codecs.table import LIMIT, Field, count, pack, signature, signed, unpack
from lada.core.errors import CodecError, FederationError
from lada.core.needs import State
from lada.core.plural import counted
from lada.core.terms import Origin, Sample
from lada.tasks.drafts import PREFIX, fault, normal, normals

KIND = "generated"
FIELDS = (
    ID,
    Field("question", "string", nullable=False),
    Field("answer", "string", nullable=False),
    Field("rationale", "string", nullable=False),
    Field("domain", "string", nullable=False),
    Field("writer", "string", nullable=False),
    Field("round", "uint32", nullable=False),
    Field("sources", "string", nullable=False),
    Field("agreement", "float32", nullable=False),
)
SOURCES = 10_000
"""Maximum number of sources of a sample."""


class Pool(NamedTuple):
    """The generated samples, sent by a party in a round."""

    party: str
    round: int
    samples: tuple[Sample, ...]


def encode(pool: Pool) -> bytes:
    """Return a pool as bytes. Raises CodecError for values that `decode` would refuse."""
    rows = [_row(sample) for sample in pool.samples]
    columns = {field.name: [row[place] for row in rows] for place, field in enumerate(FIELDS)}
    return pack(KIND, FIELDS, columns, signed(pool.party, pool.round))


def _row(sample: Sample) -> tuple[object, ...]:
    origin = sample.origin
    if origin is None or sample.answer is None:
        raise CodecError(f"{KIND}: a sample without origin or answer")
    told = (sample.id, sample.question, sample.answer, sample.rationale or "", sample.domain)
    return (*told, origin.writer, origin.round, json.dumps(origin.sources), origin.agreement)


def decode(data: bytes, *, limit: int | None = LIMIT) -> Pool:
    """Return a pool, in the order of `encode`. Raises CodecError for anything that `encode` would not write.

    `limit` is the maximum number of bytes before compression; None allows any.
    """
    columns, header = unpack(data, KIND, FIELDS, known_ids=None, limit=limit)
    samples = []
    for row in zip(*(columns[field.name] for field in FIELDS), strict=True):
        id, question, answer, rationale, domain, writer, round, sources, agreement = row
        origin = Origin(writer, round, _sources(sources), agreement)
        if not id.startswith(PREFIX) or not 0 <= agreement <= 1:
            raise CodecError(f"{KIND}: an id without {PREFIX!r}, or an agreement that is no share")
        samples.append(Sample(id, question, answer, rationale, domain, origin=origin))
    return Pool(*signature(KIND, header), tuple(samples))


def _sources(text: str) -> tuple[str, ...]:
    try:
        ids = json.loads(text)
    except (ValueError, RecursionError):
        ids = None
    if not isinstance(ids, list) or len(ids) > SOURCES or not all(isinstance(id, str) for id in ids):
        raise CodecError(f"{KIND}: sources: expected a list of ids")
    return tuple(ids)


@CODECS.register(KIND, tags=("expansion",))
class Generated(Codec[Pool, Pool]):
    """Public questions that the LLM wrote during the run, with answers, rationales and origins."""

    kind = KIND

    def encode(self, state: State, value: Pool) -> tuple[State, bytes]:
        """See Codec.encode."""
        return state, encode(value)

    def decode(self, data: bytes, reading: Reading) -> Pool:
        """See Codec.decode."""
        return decode(data, limit=reading.receiver.limits.table_bytes)

    def check(self, received: Pool, reading: Reading) -> None:
        """See Codec.check. A client refuses what an honest server does not send: see lada.tasks.drafts.fault."""
        if (received.party, received.round) != (reading.sender, reading.round):
            raise FederationError(f"{KIND}: of another party or round than the message")
        receiver, longest = reading.receiver, reading.receiver.limits.path_chars
        limit = f"limits.path_chars, {counted(longest, 'character')}"
        original = [sample for sample in receiver.task.shared if sample.origin is None]
        seen = set(normals((*original, *receiver.task.test, *receiver.task.replay)))
        for sample in received.samples:
            for text in (sample.answer, sample.rationale, sample.domain):
                if len(text or "") > longest:
                    raise FederationError(f"{KIND}: a text of more than {limit}")
            if (why := fault(sample.question, longest)) is not None:
                raise FederationError(f"{KIND}: a question that must not be asked: {why}")
            if normal(sample.question) in seen:
                raise FederationError(f"{KIND}: a question that there is already")
            seen.add(normal(sample.question))

    def describe(self, data: bytes) -> int:
        """See Codec.describe."""
        return count(data, KIND)

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        for sample in decode(data).samples:
            yield "a generated question", sample.question, True
            yield "a generated path", sample.rationale or "", True


def with_origin(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the generated ones among samples."""
    return tuple(sample for sample in samples if sample.origin is not None)
