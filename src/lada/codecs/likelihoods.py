"""What one party thinks of texts that everybody has: a likelihood per sample id, as bytes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lada.codecs.table import LIMIT, pack, signature, signed, unpack
from lada.core.errors import CodecError
from lada.core.terms import Likelihood

KIND = "likelihoods"
ID = pa.field("id", pa.string(), nullable=False)
FIELDS = (
    pa.field("total", pa.float64(), nullable=False),
    pa.field("minimum", pa.float64(), nullable=False),
    pa.field("tokens", pa.uint32(), nullable=False),
    pa.field("size", pa.uint32(), nullable=False),
)
"""The columns of a likelihood; a type that has no sign keeps counts from being negative."""


def to_columns(likelihoods: Sequence[Likelihood]) -> dict[str, list[Any]]:
    """Return FIELDS as columns. Raises CodecError for a log-prob above zero."""
    _check(likelihoods)
    return {field.name: [getattr(likelihood, field.name) for likelihood in likelihoods] for field in FIELDS}


def from_columns(columns: Mapping[str, Sequence[Any]]) -> list[Likelihood]:
    """Return the likelihoods of FIELDS as columns. Raises CodecError for a log-prob above zero."""
    likelihoods = [Likelihood(*row) for row in zip(*(columns[field.name] for field in FIELDS), strict=True)]
    _check(likelihoods)
    return likelihoods


def _check(likelihoods: Sequence[Likelihood]) -> None:
    """Refuse a log-prob above zero: no model has one, and it would win every comparison."""
    if any(max(likelihood.total, likelihood.minimum) > 0 for likelihood in likelihoods):
        raise CodecError("likelihoods: a log-prob above zero")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one party thinks in one round: likelihoods by sample id."""

    party: str
    round: int
    likelihoods: Mapping[str, Likelihood]


def encode(judgement: Judgement) -> bytes:
    """Return a party's likelihoods as bytes. Raises CodecError for values that `decode` would refuse."""
    columns = {"id": list(judgement.likelihoods), **to_columns(list(judgement.likelihoods.values()))}
    return pack(KIND, (ID, *FIELDS), columns, signed(judgement.party, judgement.round))


def decode(data: bytes, *, known_ids: Collection[str] | None, limit: int = LIMIT) -> Judgement:
    """Return a party's likelihoods, in the order of `encode`.

    `known_ids` are the only ids allowed (None: any); `limit` is the most bytes before compression. Raises CodecError,
    and nothing else, for anything that `encode` would not write.
    """
    columns, header = unpack(data, KIND, (ID, *FIELDS), known_ids=known_ids, limit=limit)
    party, round = signature(KIND, header)
    return Judgement(party, round, dict(zip(columns["id"], from_columns(columns), strict=True)))
