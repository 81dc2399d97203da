"""A party's vocabulary as bytes: the bytes of every token, and which of them ends a text."""

from collections.abc import Sequence

from lada.codecs.table import LIMIT, Field, header_number, pack, unpack
from lada.core.errors import CodecError
from lada.core.plural import counted

KIND = "vocabulary"
MOST = 2**20
"""Most tokens."""
LONGEST = 4096
"""Most bytes of one token."""
FIELDS = (Field("token", "binary", nullable=False),)


def encode(tokens: Sequence[bytes], eos: int) -> bytes:
    """Return a vocabulary as bytes: `tokens[i]` is what token i stands for, `eos` the id of end-of-sequence.

    Two tokens may stand for the same bytes, or for none. Raises CodecError for values that `decode` would refuse.
    """
    _check(tokens, eos)
    return pack(KIND, FIELDS, {"token": tokens}, {"eos": str(eos)})


def decode(data: bytes, *, limit: int | None = LIMIT) -> tuple[list[bytes], int]:
    """Return the tokens' bytes in the order of their ids, and the id of end-of-sequence.

    `limit` is the most bytes before compression (None: any number). Raises CodecError, and nothing else, for anything
    that `encode` would not write.
    """
    columns, header = unpack(data, KIND, FIELDS, known_ids=None, limit=limit, most=MOST)
    eos = header_number(KIND, header, "eos")
    _check(columns["token"], eos)
    return columns["token"], eos


def _check(tokens: Sequence[bytes], eos: int) -> None:
    if len(tokens) > MOST:
        raise CodecError(f"{KIND}: {counted(len(tokens), 'token')}; expected at most {MOST}")
    if not 0 <= eos < len(tokens):
        raise CodecError(f"{KIND}: end-of-sequence is token {eos}; expected one of the {len(tokens)}")
    if (longest := max(map(len, tokens))) > LONGEST:
        raise CodecError(f"{KIND}: a token of {counted(longest, 'byte')}; expected at most {LONGEST}")
