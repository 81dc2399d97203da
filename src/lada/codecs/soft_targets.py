"""The token scores of one party on many samples as bytes. Each sample can be read without the others.

Each sample is a block (lada.codecs.frames) in the layout of lada.codecs.token_scores. At k = 32 of 150 000 tokens, this
is less than 100 bytes per text token. Ids, tokens and offsets are exact; the mean error of log-probs is below 0.02 nats
(lada.codecs.quantise).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lada.codecs import elias_fano, frames, likelihoods, paths, token_scores
from lada.codecs.base import CODECS, Codec, Outlook, Reading, Size, Text, Words
from lada.codecs.frames import ROW, Block, Frames, check_size
from lada.codecs.quantise import MOST_BITS
from lada.codecs.received import TOKENS_PER_BYTE, Received
from lada.codecs.table import LIMIT, header_number, signature, signed
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
SCORE = 3
"""Compressed bytes of a position's own token, offsets and greatest log-prob; each of its k log-probs takes one more."""
BYTES_PER_TOKEN, ASSUMED = 4, 150_000
"""Our assumptions about the tokens of a text and of a vocabulary, if nothing is known about the sender."""


def encode(
    scores: Mapping[str, TokenScores],
    *,
    vocabulary_size: int,
    party: str,
    round: int,
    mark: str = MARK,
) -> bytes:
    """Return a party's token scores by sample id as bytes; each row of each sample has the same k tokens.

    Raises CodecError, naming sample and position, for scores that violate lada.core.terms.TokenScores: an own token
    that is not in its row, ids that do not ascend or are not in the vocabulary, a log-prob that is positive or not
    finite.
    """
    k = next((sample.top.ids.shape[-1] for sample in scores.values()), 0)
    _check_sizes(len(scores), vocabulary_size, k, mark)

    def blocks() -> Iterator[Block]:
        for sample_id, sample in scores.items():
            try:
                raw, shape = token_scores.encode(sample, vocabulary_size, k)
            except CodecError as error:
                raise CodecError(f"{mark}: sample {sample_id!r}, {error}") from None
            check_size(mark, sample_id, shape.size, LIMIT)
            yield Block(sample_id, raw, shape.n, shape.bits)

    header = {**signed(party, round), "vocabulary_size": str(vocabulary_size), "k": str(k)}
    return frames.write(mark, blocks(), header)


def count(data: bytes) -> int:
    """Return the number of samples with token scores; reads only the header. Raises CodecError for other bytes."""
    return frames.count(data, MARK)


class SoftTargets(Frames[TokenScores]):
    """The result of `encode`, by sample id. A sample is decompressed and checked each time it is accessed.

    `k` is the number of tokens in a row, 0 without samples. The caller must check the party and round that a message
    claims, and the length of a sample's text.
    """

    def __init__(
        self,
        data: bytes,
        *,
        known_ids: Collection[str] | None,
        limit: int = LIMIT,
        sample_limit: int | None = None,
        mark: str = MARK,
    ) -> None:
        """Read the index.

        `known_ids` are the only ids allowed (None: any). `limit` is the most bytes of the index before compression,
        `sample_limit` (None: the same) the most bytes of one sample. Raises only CodecError, for an index that `encode`
        would not write.
        """
        super().__init__(data, mark, known_ids=known_ids, limit=limit)
        self.party, self.round = signature(mark, self.header)
        self.vocabulary_size = header_number(mark, self.header, "vocabulary_size")
        self.k = header_number(mark, self.header, "k")
        _check_sizes(len(self), self.vocabulary_size, self.k, mark)
        if odd := next((id for id in self if self.bits(id) > MOST_BITS), None):
            raise CodecError(f"{mark}: sample {odd!r} of {self.bits(odd)} bits; expected at most {MOST_BITS}")
        self.check_sizes(sample_limit or limit)

    def _shape(self, sample_id: str) -> Shape:
        return Shape(self.tokens(sample_id), self.k, self.vocabulary_size, self.bits(sample_id))

    def size(self, sample_id: str) -> int:
        """See Frames.size."""
        return self._shape(sample_id).size

    def made(self, sample_id: str, raw: bytes) -> TokenScores:
        """See Frames.made."""
        return token_scores.decode(raw, self._shape(sample_id))


def _check_sizes(samples: int, vocabulary_size: int, k: int, mark: str = MARK) -> None:
    if not (min(samples, 1) <= k <= min(vocabulary_size, MOST_K) and vocabulary_size <= MOST):
        raise CodecError(
            f"{mark}: {counted(k, 'token')} per row of a vocabulary of {vocabulary_size}; expected 1..{MOST_K} of it"
        )


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
        if signal is None or "teacher" not in signal.texts or received.k > signal.k:
            raise FederationError(f"soft targets: {counted(received.k, 'token')} per row, more than were asked for")

    def describe(self, data: bytes) -> int:
        """See Codec.describe."""
        return count(data)

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        k = min(outlook.k, outlook.vocabulary)
        return round(outlook.samples * outlook.mean * position_bytes(k, outlook.vocabulary)) if k else 0

    def size(self, public: Sequence[Sample], k: int) -> Size:
        """See Codec.size."""
        return size_of(public, position_bytes(k, ASSUMED) if k else 0)

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        if words is None:
            raise CodecError("token scores without the vocabulary of their ids")
        yield from (("tokens", text.decode("utf-8", "replace"), True) for text in spelled(data, words))


def size_of(public: Sequence[Sample], each: int) -> Size:
    """Return the rough size of a part with a block for each public sample, of `each` bytes per token."""
    table = sum(ROW + len(sample.id.encode()) for sample in public)
    texts = sum(len((sample.rationale or sample.answer or "").encode()) for sample in public)
    return Size(table, table + (texts // BYTES_PER_TOKEN + len(public)) * each)


def spelled(data: bytes, vocabulary: Sequence[bytes], mark: str = MARK) -> Iterator[bytes]:
    """Yield, for each sample with token scores, its own text and the text of the likeliest tokens.

    Raises CodecError for scores that do not fit this vocabulary.
    """
    found = SoftTargets(data, known_ids=None, mark=mark)
    if found.vocabulary_size != len(vocabulary):
        raise CodecError(f"token scores over {counted(found.vocabulary_size, 'token')}; expected {len(vocabulary)}")
    for scores in found.values():
        likeliest = scores.top.log_probs.argmax(1)
        for tokens in (scores.tokens, scores.top.ids[np.arange(len(likeliest)), likeliest]):
            yield b"".join(vocabulary[token] for token in tokens.tolist())


def position_bytes(k: int, vocabulary_size: int) -> int:
    """Return the approximate number of compressed bytes of a position's scores."""
    return elias_fano.row_size(vocabulary_size, k) + k + SCORE
