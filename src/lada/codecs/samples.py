"""Samples as bytes: what a bound on collaboration pools, and what no federation sends."""

from collections.abc import Sequence

from lada.codecs.likelihoods import ID
from lada.codecs.table import LIMIT, Field, pack, signature, signed, unpack
from lada.core.terms import Sample

KIND = "samples"
FIELDS = (
    ID,
    Field("question", "string", nullable=False),
    Field("answer", "string"),
    Field("rationale", "string"),
    Field("domain", "string", nullable=False),
    Field("difficulty", "int32"),
    Field("entry", "string"),
)


def encode(party: str, round: int, samples: Sequence[Sample]) -> bytes:
    """Return samples as bytes, with who tells them in which round. Raises CodecError for an id that is there twice."""
    columns = {field.name: [getattr(sample, field.name) for sample in samples] for field in FIELDS}
    return pack(KIND, FIELDS, columns, signed(party, round))


def decode(data: bytes, *, limit: int | None = LIMIT) -> tuple[str, int, tuple[Sample, ...]]:
    """Return party, round and samples, in the order of `encode`; whether the first two are true is for the caller.

    `limit` is the most bytes before compression (None: any number). Raises CodecError, and nothing else, for anything
    that `encode` would not write.
    """
    columns, header = unpack(data, KIND, FIELDS, known_ids=None, limit=limit)
    rows = zip(*(columns[field.name] for field in FIELDS), strict=True)
    return *signature(KIND, header), tuple(Sample(*row) for row in rows)
