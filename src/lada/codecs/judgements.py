"""A teacher's scores of the texts that the receiver of a message wrote and sent before.

A teacher that names k > 1 tokens per position sends them in the format of soft targets (lada.codecs.soft_targets). With
k = 1, only the log-probs of its own tokens and their offsets cross (lada.codecs.token_log_probs): about 4 bytes per
token, and no vocabulary, since the receiver knows the text. The round of a part is the one in which the texts were
sent.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lada.codecs import frames, paths, soft_targets, token_log_probs
from lada.codecs.base import CODECS, Codec, Outlook, Reading, Size, Text, Words
from lada.codecs.frames import Block, Frames, check_size
from lada.codecs.received import TOKENS_PER_BYTE
from lada.codecs.soft_targets import ASSUMED, SoftTargets, position_bytes, size_of, spelled
from lada.codecs.table import LIMIT, signature, signed
from lada.codecs.vocabulary import vocabulary_of
from lada.core.errors import CodecError, FederationError
from lada.core.needs import State
from lada.core.terms import Knowledge, Sample, TokenLogProbs

KIND = "judgements"
TOP, OWN = "judged-top", "judged-own"
"""The names of the two formats, in their own headers."""
SENT = "sent paths"
"""In a party's memory: the paths that it sent last, as others received them."""
EXPECTED = 4
"""Compressed bytes of a token's log-prob and offsets, with its share of the index; source: results/alignment."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A party's scores of another's texts by sample id, which were sent in `round`.

    `by_id` holds TokenScores over a vocabulary of `size` tokens or, with size 0, TokenLogProbs.
    """

    party: str
    round: int
    size: int
    by_id: Mapping[str, Any]


class OwnLogProbs(Frames[TokenLogProbs]):
    """The log-probs of a teacher's own tokens, by sample id. A sample is read each time it is accessed."""

    vocabulary_size = 0
    k = 1

    def __init__(self, data: bytes, *, known_ids: Collection[str] | None, limit: int, sample_limit: int) -> None:
        """See SoftTargets."""
        super().__init__(data, OWN, known_ids=known_ids, limit=limit)
        self.party, self.round = signature(OWN, self.header)
        if any(self.bits(id) for id in self):
            raise CodecError(f"{OWN}: a sample with a number of bits; expected 0")
        self.check_sizes(sample_limit)

    def size(self, sample_id: str) -> int:
        """See Frames.size."""
        return token_log_probs.BYTES * self.tokens(sample_id)

    def made(self, sample_id: str, raw: bytes) -> TokenLogProbs:
        """See Frames.made."""
        return token_log_probs.decode(raw, self.tokens(sample_id))


class TopLogProbs(SoftTargets):
    """A teacher's k likeliest tokens at each position, by sample id."""

    def __init__(self, data: bytes, *, known_ids: Collection[str] | None, limit: int, sample_limit: int) -> None:
        """See SoftTargets."""
        super().__init__(data, known_ids=known_ids, limit=limit, sample_limit=sample_limit, mark=TOP)


Received = TopLogProbs | OwnLogProbs


@CODECS.register(KIND, tags=("feedback",))
class Judgements(Codec[Judged, Received]):
    """A teacher's log-probs, token by token, of the paths that the receiver wrote and sent."""

    kind = KIND
    lossy = True

    def encode(self, state: State, value: Judged) -> tuple[State, bytes]:
        """See Codec.encode."""
        who = {"party": value.party, "round": value.round}
        if value.size:
            return state, soft_targets.encode(value.by_id, vocabulary_size=value.size, mark=TOP, **who)
        return state, frames.write(OWN, _blocks(value.by_id), signed(**who))

    def decode(self, data: bytes, reading: Reading) -> Received:
        """See Codec.decode. The texts are those that the receiver sent."""
        sent = sent_paths(reading.receiver.memory)
        if sent is None:
            raise FederationError("judgements: of texts, but the receiver sent none")
        signal, limits = reading.receiver.signal, reading.receiver.limits
        sizes = {path.sample_id: len(path.text.encode()) for path in sent.paths}
        kind = OwnLogProbs if signal is None or signal.k == 1 else TopLogProbs
        found = kind(data, known_ids=sizes.keys(), limit=limits.table_bytes, sample_limit=limits.sample_bytes)
        if any(found.tokens(id) > TOKENS_PER_BYTE * (sizes[id] + 1) for id in found):
            raise FederationError(f"judgements: more than {TOKENS_PER_BYTE} tokens per byte of a text")
        return found

    def check(self, received: Received, reading: Reading) -> None:
        """See Codec.check. The texts must be the last that were sent, and no more may be told than was asked for."""
        sent, signal = sent_paths(reading.receiver.memory), reading.receiver.signal
        if sent is None or (received.party, received.round) != (reading.sender, sent.round):
            raise FederationError("judgements: of another party than the message, or of texts of another round")
        if signal is None or "student" not in signal.texts or received.k > signal.k:
            raise FederationError("judgements: more than was asked for")
        words = vocabulary_of(reading, reading.sender) if received.vocabulary_size else None
        if words and received.vocabulary_size != len(words.tokens):
            raise FederationError("judgements: of another vocabulary than the sender's")

    def describe(self, data: bytes) -> int:
        """See Codec.describe."""
        try:
            return frames.count(data, OWN)
        except CodecError:
            return frames.count(data, TOP)

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        k = min(outlook.k, outlook.vocabulary)
        each = EXPECTED if outlook.k == 1 else position_bytes(k, outlook.vocabulary) if k else 0
        return round(outlook.samples * outlook.mean * each)

    def size(self, public: Sequence[Sample], k: int) -> Size:
        """See Codec.size."""
        return size_of(public, EXPECTED if k == 1 else position_bytes(k, ASSUMED) if k else 0)

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts. Without the tokens, nothing is spelled."""
        try:
            frames.count(data, OWN)
            return
        except CodecError:
            if words is None:
                raise CodecError("judgements without the vocabulary of their ids") from None
        yield from (("tokens", text.decode("utf-8", "replace"), True) for text in spelled(data, words, TOP))


def sent_paths(memory: Mapping[str, bytes]) -> Knowledge | None:
    """Return the paths that a party sent last, from its memory; None if it sent none."""
    return paths.decode(memory[SENT], known_ids=None, limit=None) if SENT in memory else None


def _blocks(scores: Mapping[str, TokenLogProbs]) -> Iterator[Block]:
    for sample_id, each in scores.items():
        try:
            raw = token_log_probs.encode(each)
        except CodecError as error:
            raise CodecError(f"{OWN}: sample {sample_id!r}, {error}") from None
        check_size(OWN, sample_id, len(raw), LIMIT)
        yield Block(sample_id, raw, len(each.log_probs))
