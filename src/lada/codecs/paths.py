"""What one party can say about public samples, as bytes."""

import re
from collections.abc import Collection, Mapping

from lada.codecs.likelihoods import FIELDS as LIKELIHOOD
from lada.codecs.likelihoods import ID, from_columns, to_columns
from lada.codecs.table import LIMIT, Field, pack, signature, signed, unpack
from lada.core.errors import CodecError
from lada.core.terms import Knowledge, Path

KIND = "paths"
FIELDS = (
    ID,
    Field("text", "string", nullable=False),
    Field("answer", "string"),
    Field("right", "bool"),
    *LIKELIHOOD,
)
CUT = "cut"
"""In the header, where there are some: the numbers of the rows whose texts were cut, ascending, as in `0 12 13`."""
NUMBERS = re.compile(r"\d{1,9}( \d{1,9})*", re.ASCII)


def encode(knowledge: Knowledge) -> bytes:
    """Return a party's paths as bytes; the party is the writer of each.

    Raises CodecError for values that `decode` would refuse, or a path that somebody else wrote.
    """
    paths = knowledge.paths
    if any(path.writer != knowledge.party for path in paths):
        raise CodecError(f"paths: a path of another writer among those of {knowledge.party!r}")
    columns = {
        "id": [path.sample_id for path in paths],
        "text": [path.text for path in paths],
        "answer": [path.answer for path in paths],
        "right": [path.right for path in paths],
        **to_columns([path.likelihood for path in paths]),
    }
    cut = " ".join(str(row) for row, path in enumerate(paths) if path.cut)
    return pack(KIND, FIELDS, columns, signed(knowledge.party, knowledge.round) | ({CUT: cut} if cut else {}))


def decode(data: bytes, *, known_ids: Collection[str] | None, limit: int | None = LIMIT) -> Knowledge:
    """Return a party's paths, in the order of `encode`.

    `known_ids` are the only ids allowed (None: any); `limit` is the most bytes before compression (None: any number).
    Raises CodecError, and nothing else, for anything that `encode` would not write. What party and round a message
    claims to be of is for the caller to check.
    """
    columns, header = unpack(data, KIND, FIELDS, known_ids=known_ids, limit=limit)
    party, round = signature(KIND, header)
    cut = _cut(header, len(columns["id"]))
    rows = zip(columns["id"], columns["text"], columns["answer"], columns["right"], from_columns(columns), strict=True)
    return Knowledge(
        party,
        round,
        tuple(
            Path(sample, party, text, answer, right, likelihood, row in cut)
            for row, (sample, text, answer, right, likelihood) in enumerate(rows)
        ),
    )


def _cut(header: Mapping[str, str], rows: int) -> frozenset[int]:
    """Return which rows a header says were cut. Raises CodecError for one that `encode` would not write."""
    if CUT not in header:
        return frozenset()
    told = header[CUT]
    numbers = [int(number) for number in told.split(" ")] if NUMBERS.fullmatch(told) else [rows]
    if numbers != sorted({*numbers}) or numbers[-1] >= rows or told != " ".join(map(str, numbers)):
        raise CodecError(f"{KIND}: {CUT}: expected numbers of rows, ascending")
    return frozenset(numbers)
