"""A party's vocabulary as bytes: the bytes of every token, and which of them ends a text."""

from collections.abc import Iterator, Sequence

from lada.codecs.base import CODECS, Codec, Outlook, Reading, Text, Words
from lada.codecs.table import LIMIT, Field, header_number, pack, unpack
from lada.core.errors import CodecError
from lada.core.known import read
from lada.core.needs import State
from lada.core.plural import counted
from lada.core.terms import Vocabulary

KIND = "vocabulary"
MOST = 2**20
"""The most tokens."""
LONGEST = 4096
"""The most bytes of one token."""
NO_END = "none"
"""Replaces the id of end-of-sequence where each token is a whole text."""
EXPECTED = 4
"""Bytes of a token, compressed."""
FIELDS = (Field("token", "binary", nullable=False),)


def encode(tokens: Sequence[bytes], eos: int | None) -> bytes:
    """Return a vocabulary as bytes. `tokens[i]` holds the bytes of token i; `eos` is the id of end-of-sequence, if any.

    Two tokens may have the same bytes, or none. Raises CodecError for values that `decode` would refuse.
    """
    _check(tokens, eos)
    return pack(KIND, FIELDS, {"token": tokens}, {"eos": NO_END if eos is None else str(eos)})


def decode(data: bytes, *, limit: int | None = LIMIT) -> tuple[list[bytes], int | None]:
    """Return the tokens' bytes in the order of their ids, and the id of end-of-sequence, if there is one.

    `limit` is the most bytes before compression (None: any number). Raises only CodecError, for anything that `encode`
    would not write.
    """
    columns, header = unpack(data, KIND, FIELDS, known_ids=None, limit=limit, most=MOST)
    eos = None if header.get("eos") == NO_END else header_number(KIND, header, "eos")
    _check(columns["token"], eos)
    return columns["token"], eos


def _check(tokens: Sequence[bytes], eos: int | None) -> None:
    if len(tokens) > MOST:
        raise CodecError(f"{KIND}: {counted(len(tokens), 'token')}; expected at most {MOST}")
    if not tokens and eos is None:
        raise CodecError(f"{KIND}: no tokens; expected one at least")
    if eos is not None and not 0 <= eos < len(tokens):
        raise CodecError(f"{KIND}: end-of-sequence is token {eos}; expected one of the {len(tokens)}")
    if (longest := max(map(len, tokens))) > LONGEST:
        raise CodecError(f"{KIND}: a token of {counted(longest, 'byte')}; expected at most {LONGEST}")


@CODECS.register(KIND, tags=("feature",))
class Vocabularies(Codec[Vocabulary, Vocabulary]):
    """The bytes of a party's tokens, by id.

    It is sent once, in the first round; receivers remember it.
    """

    kind = KIND

    def encode(self, state: State, value: Vocabulary) -> tuple[State, bytes]:
        """See Codec.encode."""
        return state, encode(value.tokens, value.eos)

    def decode(self, data: bytes, reading: Reading) -> Vocabulary:
        """See Codec.decode."""
        return _decode(data, reading.receiver.limits.table_bytes)

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        return EXPECTED * outlook.vocabulary

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        yield from (("a token", token.decode("utf-8", "replace"), False) for token in decode(data)[0])


def key_of(party: str) -> str:
    """Return the key under which a receiver keeps another party's vocabulary in its memory."""
    return f"{KIND} {party}"


def vocabulary_of(reading: Reading, party: str) -> Vocabulary | None:
    """Return a party's vocabulary from this message or, since it is sent only once, from an earlier one; None if
    neither has it."""
    if KIND in reading.payload:
        return reading.part(KIND)
    data = reading.receiver.memory.get(key_of(party))
    if data is None:
        return None
    return read(reading.payload, KIND, lambda: _decode(data, reading.receiver.limits.table_bytes))


def _decode(data: bytes, limit: int) -> Vocabulary:
    tokens, eos = decode(data, limit=limit)
    return Vocabulary(tuple(tokens), eos)
