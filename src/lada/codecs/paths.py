"""One party's paths for public samples, as bytes."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import is_

from lada.codecs.base import CODECS, Codec, Outlook, Reading, Receiver, Size, Text, Words
from lada.codecs.likelihoods import FIELDS as LIKELIHOOD
from lada.codecs.likelihoods import ID, from_columns, to_columns
from lada.codecs.received import Received, check_signature, check_size
from lada.codecs.table import LIMIT, Field, count, pack, signature, signed, unpack
from lada.core.errors import CodecError, FederationError
from lada.core.needs import State
from lada.core.plural import counted
from lada.core.terms import Knowledge, Path, Sample

KIND = "paths"
FIELDS = (
    ID,
    Field("text", "string", nullable=False),
    Field("answer", "string"),
    Field("right", "bool"),
    *LIKELIHOOD,
)
CUT = "cut"
"""The header's entry for rows whose texts were cut, if there are any: their numbers, ascending, as in `0 12 13`."""
TRUE = "paths, true"
"""Results for payloads whose answers were confirmed: on how many answers a verifier failed, by reason. Reading such a
payload again needs no verification."""
ROW = 29
"""Bytes of a row without its texts and id: its columns, and 4 for the place of each text."""
EXPECTED = 1.0
"""Compressed bytes of a path per token; source: results/alignment, on the built-in corpus."""
NUMBERS = re.compile(r"\d{1,9}( \d{1,9})*", re.ASCII)


def encode(knowledge: Knowledge) -> bytes:
    """Return a party's paths as bytes; the party must be the writer of each.

    Raises CodecError for values that `decode` would refuse, or for a path of another writer.
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
    Raises only CodecError, for anything that `encode` would not write. The caller must check the party and round that a
    message claims.
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
    """Return the rows that a header lists as cut. Raises CodecError for a list that `encode` would not write."""
    if CUT not in header:
        return frozenset()
    received = header[CUT]
    numbers = [int(number) for number in received.split(" ")] if NUMBERS.fullmatch(received) else [rows]
    if numbers != sorted({*numbers}) or numbers[-1] >= rows or received != " ".join(map(str, numbers)):
        raise CodecError(f"{KIND}: {CUT}: expected numbers of rows, ascending")
    return frozenset(numbers)


class WrittenPaths(Codec[Knowledge, Received]):
    """The codec of paths for the samples that `samples` names."""

    def encode(self, state: State, value: Knowledge) -> tuple[State, bytes]:
        """See Codec.encode."""
        return state, encode(value)

    def samples(self, receiver: Receiver) -> Sequence[Sample]:
        """Return the samples that a receiver takes paths for."""
        return receiver.task.public

    def decode(self, data: bytes, reading: Reading) -> Received:
        """See Codec.decode. Answers and verdicts are computed from the texts; the writer's claims are ignored."""
        receiver, limits = reading.receiver, reading.receiver.limits
        known = {sample.id: sample for sample in self.samples(receiver)}
        received = decode(data, known_ids=known, limit=limits.table_bytes)
        if TRUE in reading.payload.made:
            return Received(received, reading.payload.made[TRUE])
        for path in received.paths:
            if len(path.text) > limits.path_chars:
                raise FederationError(
                    f"{KIND}: a text of more than limits.path_chars, {counted(limits.path_chars, 'character')}"
                )
            check_size(receiver, path.likelihood, path.text)
        failures: Counter[str] = Counter()
        asked = [(known[path.sample_id], path.text) for path in received.paths]
        verdicts = receiver.verify(asked, failures, reading.seconds)
        verified = tuple(  # the same path, since its writer's claims are true
            path if (path.answer, path.right) == verdict else replace(path, answer=verdict[0], right=verdict[1])
            for path, verdict in zip(received.paths, verdicts, strict=True)
        )
        if all(map(is_, verified, received.paths)):
            reading.payload.keep(TRUE, failures)
        return Received(replace(received, paths=verified), failures)

    def check(self, received: Received, reading: Reading) -> None:
        """See Codec.check."""
        check_signature(KIND, received.knowledge, reading)

    def describe(self, data: bytes) -> int:
        """See Codec.describe."""
        return count(data, KIND)

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        return round(EXPECTED * (outlook.samples * outlook.mean))

    def size(self, public: Sequence[Sample], k: int) -> Size:
        """See Codec.size."""
        texts = ((sample.id, sample.rationale or sample.answer or "", sample.answer or "") for sample in public)
        table = sum(ROW + sum(len(text.encode()) for text in each) for each in texts)
        return Size(table, table)

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        for path in decode(data, known_ids=None).paths:
            yield "a path", path.text, True
            yield "an answer", path.answer or "", True


@CODECS.register(KIND, tags=("labels",))
class Paths(WrittenPaths):
    """What a party wrote for public samples: a path for each, with its writer's likelihood."""

    kind = KIND
