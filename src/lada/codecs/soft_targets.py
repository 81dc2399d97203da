"""The token scores of one party on many samples as bytes. Each sample can be read without the others.

A file is the index's length (8 bytes, little-endian), the index (lada.codecs.table) and one zstd frame for each sample
(lada.codecs.token_scores). At k = 32 of 150 000 tokens, this is less than 100 bytes per text token. Ids, tokens and
offsets are exact; the mean error of log-probs is below 0.02 nats (lada.codecs.quantise).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lada.codecs import elias_fano, likelihoods, paths, token_scores
from lada.codecs.base import CODECS, Codec, Outlook, Reading, Size, Text, Words
from lada.codecs.quantise import MOST_BITS
from lada.codecs.received import TOKENS_PER_BYTE, Received
from lada.codecs.table import LIMIT, Field, header_number, pack, signature, signed, unpack
from lada.codecs.table import count as rows_of
from lada.codecs.token_scores import Shape
from lada.codecs.vocabulary import MOST, vocabulary_of
from lada.core.bounds import MOST_K
from lada.core.errors import CodecError, FederationError
from lada.core.needs import State
from lada.core.plural import counted
from lada.core.terms import Sample, TokenScores

KIND = "soft_targets"
MARK = "soft-targets"
"""The name of the format, in its own header."""
FIELDS = (
    Field("id", "string", nullable=False),
    Field("offset", "uint64", nullable=False),  # bytes from the end of the index to the frame
    Field("size", "uint32", nullable=False),  # bytes of the frame
    Field("tokens", "uint32", nullable=False),
    Field("bits", "uint8", nullable=False),
)
LENGTH = 8
"""Bytes of the index's length."""
ZSTD = "zstd"
"""The compression of each sample, by its name in Arrow."""
ROW = 21
"""Bytes of a row of the index without its id, and 4 for the place of the id."""
SCORE = 3
"""Compressed bytes of a position's own token, offsets and greatest log-prob; each of its k log-probs takes one more."""
BYTES_PER_TOKEN, ASSUMED = 4, 150_000
"""Our assumptions about the tokens of a text and of a vocabulary, if nothing is known about the sender."""


def encode(scores: Mapping[str, TokenScores], *, vocabulary_size: int, party: str, round: int) -> bytes:
    """Return a party's token scores by sample id as bytes; each row of each sample has the same k tokens.

    Raises CodecError, naming sample and position, for scores that violate lada.core.terms.TokenScores: an own token
    that is not in its row, ids that do not ascend or are not in the vocabulary, a log-prob that is positive or not
    finite.
    """
    import pyarrow as pa  # here, as in lada.codecs.table

    codec = pa.Codec(ZSTD)
    k = next((sample.top.ids.shape[-1] for sample in scores.values()), 0)
    _check_sizes(len(scores), vocabulary_size, k)
    frames: list[bytes] = []
    rows: list[tuple[str, int, int, int, int]] = []
    offset = 0
    for sample_id, sample in scores.items():
        try:
            raw, shape = token_scores.encode(sample, vocabulary_size, k)
        except CodecError as error:
            raise CodecError(f"{MARK}: sample {sample_id!r}, {error}") from None
        _check_size(sample_id, shape, LIMIT)
        frame = codec.compress(raw, asbytes=True)
        rows.append((sample_id, offset, len(frame), shape.n, shape.bits))
        frames.append(frame)
        offset += len(frame)
    columns = {field.name: [row[place] for row in rows] for place, field in enumerate(FIELDS)}
    header = {**signed(party, round), "vocabulary_size": str(vocabulary_size), "k": str(k)}
    index = pack(MARK, FIELDS, columns, header)
    return b"".join([len(index).to_bytes(LENGTH, "little"), index, *frames])


def count(data: bytes) -> int:
    """Return the number of samples with token scores; reads only the header. Raises CodecError for other bytes."""
    return rows_of(data[LENGTH : LENGTH + int.from_bytes(data[:LENGTH], "little")], MARK)


class SoftTargets(Mapping[str, TokenScores]):
    """The result of `encode`, by sample id. A sample is decompressed and checked each time it is accessed.

    `k` is the number of tokens in a row, 0 without samples. The caller must check the party and round that a message
    claims, and the length of a sample's text.
    """

    party: str
    round: int
    vocabulary_size: int
    k: int

    def __init__(
        self, data: bytes, *, known_ids: Collection[str] | None, limit: int = LIMIT, sample_limit: int | None = None
    ) -> None:
        """Read the index.

        `known_ids` are the only ids allowed (None: any). `limit` is the most bytes of the index before compression,
        `sample_limit` (None: the same) the most bytes of one sample. Raises only CodecError, for an index that `encode`
        would not write.
        """
        start = LENGTH + int.from_bytes(data[:LENGTH], "little")
        if start > len(data):
            raise CodecError(f"{MARK}: {counted(len(data), 'byte')}; expected at least {start}")
        columns, header = unpack(data[LENGTH:start], MARK, FIELDS, known_ids=known_ids, limit=limit)
        self.party, self.round = signature(MARK, header)
        self.vocabulary_size = header_number(MARK, header, "vocabulary_size")
        self.k = header_number(MARK, header, "k")
        _check_sizes(len(columns["id"]), self.vocabulary_size, self.k)
        self._samples: dict[str, tuple[memoryview, Shape]] = {}
        frames = memoryview(data)[start:]
        end = 0
        for sample_id, offset, size, n, bits in zip(*(columns[field.name] for field in FIELDS), strict=True):
            shape = Shape(n, self.k, self.vocabulary_size, bits)
            if offset != end or bits > MOST_BITS:
                raise CodecError(f"{MARK}: sample {sample_id!r} at byte {offset}, of {bits} bits; expected at {end}")
            _check_size(sample_id, shape, sample_limit or limit)
            end += size
            self._samples[sample_id] = frames[offset:end], shape
        if end != len(frames):
            raise CodecError(f"{MARK}: {counted(len(frames), 'byte')} of samples; expected {end}")

    def tokens(self, sample_id: str) -> int:
        """Return the number of tokens of a sample's text, from the index. Raises KeyError for an unknown id."""
        return self._samples[sample_id][1].n

    def __getitem__(self, sample_id: str) -> TokenScores:
        """Return one sample's scores. Raises KeyError for an unknown id; for bytes that `encode` would not write, only
        CodecError."""
        import pyarrow as pa

        frame, shape = self._samples[sample_id]
        try:
            raw = pa.Codec(ZSTD).decompress(frame, decompressed_size=shape.size, asbytes=True)
        except (pa.ArrowException, OSError) as error:
            raise CodecError(f"{MARK}: sample {sample_id!r} is not a frame of {counted(shape.size, 'byte')}") from error
        try:
            return token_scores.decode(raw, shape)
        except CodecError as error:
            raise CodecError(f"{MARK}: sample {sample_id!r}: {error}") from None

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._samples  # Mapping's default would decode the sample

    def __iter__(self) -> Iterator[str]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)


def _check_sizes(samples: int, vocabulary_size: int, k: int) -> None:
    if not (min(samples, 1) <= k <= min(vocabulary_size, MOST_K) and vocabulary_size <= MOST):
        raise CodecError(
            f"{MARK}: {counted(k, 'token')} per row of a vocabulary of {vocabulary_size}; expected 1..{MOST_K} of it"
        )


def _check_size(sample_id: str, shape: Shape, limit: int) -> None:
    if shape.size > limit:
        raise CodecError(f"{MARK}: sample {sample_id!r} has {counted(shape.size, 'byte')}; expected at most {limit}")


@dataclass(frozen=True, slots=True)
class Scores:
    """A party's token scores of some texts, over a vocabulary of `size` tokens."""

    party: str
    round: int
    size: int
    by_id: Mapping[str, TokenScores]


@CODECS.register(KIND, tags=("feature",))
class SoftTargetsCodec(Codec[Scores, SoftTargets]):
    """Soft targets: the likeliest tokens at each position of the texts in the same message."""

    kind = KIND
    lossy = True

    def encode(self, state: State, value: Scores) -> tuple[State, bytes]:
        """See Codec.encode."""
        return state, encode(value.by_id, vocabulary_size=value.size, party=value.party, round=value.round)

    def decode(self, data: bytes, reading: Reading) -> SoftTargets:
        """See Codec.decode. Each sample is decoded only when it is accessed."""
        received: Received = reading.part(paths.KIND if paths.KIND in reading.payload else likelihoods.KIND)
        limits = reading.receiver.limits
        sizes = {path.sample_id: len(path.text.encode()) for path in received.knowledge.paths}
        found = SoftTargets(data, known_ids=sizes.keys(), limit=limits.table_bytes, sample_limit=limits.sample_bytes)
        if any(found.tokens(id) > TOKENS_PER_BYTE * (sizes[id] + 1) for id in found):
            raise FederationError(f"soft targets: more than {TOKENS_PER_BYTE} tokens per byte of a text")
        return found

    def check(self, received: SoftTargets, reading: Reading) -> None:
        """See Codec.check. Rows must not have more tokens than the receiver's objective asks for."""
        words = vocabulary_of(reading, reading.sender)
        of_message = (received.party, received.round) == (reading.sender, reading.round)
        if not of_message or (words and received.vocabulary_size != len(words.tokens)):
            raise FederationError("soft targets: of another party, round or vocabulary than the message")
        signal = reading.receiver.signal
        if signal is None or received.k > signal.k:
            raise FederationError(f"soft targets: {counted(received.k, 'token')} per row, more than were asked for")

    def describe(self, data: bytes) -> int:
        """See Codec.describe."""
        return count(data)

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        k = min(outlook.k, outlook.vocabulary)
        return round(outlook.samples * outlook.mean * _position(k, outlook.vocabulary)) if k else 0

    def size(self, public: Sequence[Sample], k: int) -> Size:
        """See Codec.size."""
        table = sum(ROW + len(sample.id.encode()) for sample in public)
        texts = sum(len((sample.rationale or sample.answer or "").encode()) for sample in public)
        positions = texts // BYTES_PER_TOKEN + len(public)
        return Size(table, table + (positions * _position(k, ASSUMED) if k else 0))

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        if words is None:
            raise CodecError("token scores without the vocabulary of their ids")
        yield from (("tokens", text.decode("utf-8", "replace"), True) for text in spelled(data, words))


def spelled(data: bytes, vocabulary: Sequence[bytes]) -> Iterator[bytes]:
    """Yield, for each sample with token scores, its own text and the text of the likeliest tokens.

    Raises CodecError for scores that do not fit this vocabulary.
    """
    found = SoftTargets(data, known_ids=None)
    if found.vocabulary_size != len(vocabulary):
        raise CodecError(f"token scores over {counted(found.vocabulary_size, 'token')}; expected {len(vocabulary)}")
    for scores in found.values():
        likeliest = scores.top.log_probs.argmax(1)
        for tokens in (scores.tokens, scores.top.ids[np.arange(len(likeliest)), likeliest]):
            yield b"".join(vocabulary[token] for token in tokens.tolist())


def _position(k: int, vocabulary_size: int) -> int:
    """Return the approximate number of compressed bytes of a position's scores."""
    return elias_fano.row_size(vocabulary_size, k) + k + SCORE
