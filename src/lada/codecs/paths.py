"""What one party can say about public samples, as bytes."""

from collections.abc import Collection

import pyarrow as pa

from lada.codecs.likelihoods import FIELDS as LIKELIHOOD
from lada.codecs.likelihoods import ID, from_columns, to_columns
from lada.codecs.table import LIMIT, header_number, header_text, pack, unpack
from lada.core.errors import CodecError
from lada.core.terms import Knowledge, Path

KIND = "paths"
FIELDS = (
    ID,
    pa.field("text", pa.string(), nullable=False),
    pa.field("answer", pa.string()),
    pa.field("right", pa.bool_()),
    *LIKELIHOOD,
)


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
    return pack(KIND, FIELDS, columns, {"party": knowledge.party, "round": str(knowledge.round)})


def decode(data: bytes, *, known_ids: Collection[str] | None, limit: int = LIMIT) -> Knowledge:
    """Return a party's paths, in the order of `encode`.

    `known_ids` are the only ids allowed (None: any); `limit` is the most bytes before compression. Raises CodecError,
    and nothing else, for anything that `encode` would not write. What party and round a message claims to be of is
    for the caller to check.
    """
    columns, header = unpack(data, KIND, FIELDS, known_ids=known_ids, limit=limit)
    party = header_text(KIND, header, "party")
    rows = zip(columns["id"], columns["text"], columns["answer"], columns["right"], from_columns(columns), strict=True)
    return Knowledge(
        party,
        header_number(KIND, header, "round"),
        tuple(Path(sample, party, text, answer, right, likelihood) for sample, text, answer, right, likelihood in rows),
    )
