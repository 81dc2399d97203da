"""Which parties gave the same answers, and how likely the sender finds each party's path, as bytes.

A row has a number of two bytes for each party's answer, equal for equal answers, and a log-prob in half precision. No
answer, path or name of a party is in it: the first place is the sender's, the second the receiver's, and the others
are in one order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lada.codecs.base import CODECS, Codec, Outlook, Reading, Size, Text, Words
from lada.codecs.table import Field, count, header_number, pack, signature, signed, unpack
from lada.core.errors import CodecError, FederationError
from lada.core.needs import State
from lada.core.terms import Sample

KIND = "reviews"
FIELDS = (
    Field("id", "string", nullable=False),
    Field("answers", "binary", nullable=False),
    Field("log_probs", "binary", nullable=False),
)
NOBODY = 2**16 - 1
"""Stands for a party without an answer."""
LEAST = -1e4
"""The least log-prob, nats per byte."""
ROW = 12
"""Bytes of a row besides its id and the parties' numbers: the places of its three values."""
BYTES = EXPECTED = 4
"""Bytes of a party in a row, and after compression."""
ASSUMED = 4
"""Parties that a plan counts with, since the number is not known to it."""


@dataclass(frozen=True, slots=True, eq=False)
class Ballot:
    """What a server tells one client: for n questions and p parties, answers and log-probs of their paths.

    `answers` int64 [n, p] and `log_probs` float64 [n, p], nats per byte, are as in lada.allocators.reviews; the server
    is the judge, and NaN is unknown. Place 0 is the server, place 1 the client.
    """

    party: str
    round: int
    ids: tuple[str, ...]
    answers: np.ndarray
    log_probs: np.ndarray


@CODECS.register(KIND, tags=("feedback",))
class BallotCodec(Codec[Ballot, Ballot]):
    """Which parties gave the same answers, and how likely the server finds their paths."""

    kind = KIND
    lossy = True

    def encode(self, state: State, value: Ballot) -> tuple[State, bytes]:
        """See Codec.encode."""
        _check(value)
        numbers = np.where(value.answers < 0, NOBODY, value.answers).astype("<u2")
        columns = {
            "id": list(value.ids),
            "answers": [row.tobytes() for row in numbers],
            "log_probs": [row.tobytes() for row in value.log_probs.astype("<f2")],
        }
        header = {**signed(value.party, value.round), "parties": str(value.answers.shape[1])}
        return state, pack(KIND, FIELDS, columns, header)

    def decode(self, data: bytes, reading: Reading) -> Ballot:
        """See Codec.decode."""
        known = {sample.id for sample in reading.receiver.task.public}
        columns, header = unpack(data, KIND, FIELDS, known_ids=known, limit=reading.receiver.limits.table_bytes)
        parties = header_number(KIND, header, "parties")
        raw, halves = (_rows(columns[name], parties, kind) for name, kind in (("answers", "<u2"), ("log_probs", "<f2")))
        answers = np.where(raw == NOBODY, -1, raw.astype(np.int64))
        found = Ballot(*signature(KIND, header), tuple(columns["id"]), answers, halves.astype(np.float64))
        _check(found)
        return found

    def check(self, received: Ballot, reading: Reading) -> None:
        """See Codec.check."""
        if (received.party, received.round) != (reading.sender, reading.round):
            raise FederationError("reviews: of another party or round than the message")

    def describe(self, data: bytes) -> int:
        """See Codec.describe."""
        return count(data, KIND)

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        return round(outlook.samples * ASSUMED * EXPECTED)

    def size(self, public: Sequence[Sample], k: int) -> Size:
        """See Codec.size."""
        table = sum(ROW + ASSUMED * BYTES + len(sample.id.encode()) for sample in public)
        return Size(table, table)

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        columns, _ = unpack(data, KIND, FIELDS, known_ids=None, limit=None)
        yield from (("an id", id, False) for id in columns["id"])


def _rows(values: Sequence[bytes], parties: int, kind: str) -> np.ndarray:
    """Return two-byte numbers of each party [n, parties]."""
    if any(len(value) != 2 * parties for value in values):
        raise CodecError(f"{KIND}: a row that has not one number for each party")
    return np.frombuffer(b"".join(values), kind).reshape(len(values), parties)


def _check(ballot: Ballot) -> None:
    """Raise CodecError for numbers that no server tells."""
    n, parties = len(ballot.ids), ballot.answers.shape[1]
    if not 2 <= parties < NOBODY:
        raise CodecError(f"{KIND}: of {parties} parties; expected 2 to {NOBODY - 1}")
    if ballot.answers.shape != (n, parties) or ballot.log_probs.shape != (n, parties):
        raise CodecError(f"{KIND}: arrays that have not a number for each question and party")
    if not ((ballot.answers >= -1) & (ballot.answers < parties)).all():
        raise CodecError(f"{KIND}: an answer that is not in -1..{parties - 1}")
    known = ballot.log_probs[~np.isnan(ballot.log_probs)]
    if not ((known >= LEAST) & (known <= 0)).all():
        raise CodecError(f"{KIND}: a log-prob that is not in {LEAST:g}..0 nats per byte")
