"""A party's vocabulary as bytes: the bytes of every token, and which of them ends a text."""

from collections.abc import Sequence

import pyarrow as pa

from lada.codecs.table import LIMIT, header_number, pack, unpack
from lada.core.errors import CodecError

KIND = "vocabulary"
FIELDS = (pa.field("token", pa.binary(), nullable=False),)


def encode(tokens: Sequence[bytes], eos: int) -> bytes:
    """Return a vocabulary as bytes: `tokens[i]` is what token i stands for, `eos` the id of end-of-sequence.

    Two tokens may stand for the same bytes, or for none. Raises CodecError for values that `decode` would refuse.
    """
    _check(len(tokens), eos)
    return pack(KIND, FIELDS, {"token": tokens}, {"eos": str(eos)})


def decode(data: bytes, *, limit: int = LIMIT) -> tuple[list[bytes], int]:
    """Return the tokens' bytes in the order of their ids, and the id of end-of-sequence.

    `limit` is the most bytes before compression. Raises CodecError, and nothing else, for anything that `encode` would
    not write.
    """
    columns, header = unpack(data, KIND, FIELDS, known_ids=None, limit=limit)
    eos = header_number(KIND, header, "eos")
    _check(len(columns["token"]), eos)
    return columns["token"], eos


def _check(size: int, eos: int) -> None:
    if not 0 <= eos < size:
        raise CodecError(f"{KIND}: end-of-sequence is token {eos}; expected one of the {size}")
