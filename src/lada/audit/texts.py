"""Extracts the texts in a message part by its kind, to search them for passages of private samples."""

from lada.codecs.base import CODECS, Codec, Codecs, Text, Words
from lada.core.errors import CodecError


def texts(kind: str | None, data: bytes, words: Words, codecs: Codecs) -> list[Text]:
    """Return the texts in a part of a kind; None: of any kind as which it can be read.

    Raises CodecError for a part that cannot be read, such as token scores without the vocabulary of their ids.
    """
    if kind is not None:
        if kind not in codecs:
            raise CodecError("an unknown kind")
        return list(codecs[kind].texts(data, words))
    for codec in sorted(_all(codecs), key=lambda codec: (codec.shapeless, codec.kind)):
        try:
            return list(codec.texts(data, words))
        except CodecError:
            continue
    raise CodecError("a part of no known kind")


def _all(codecs: Codecs) -> list[Codec]:
    """Return the codecs of all kinds."""
    return [codecs[kind] for kind in CODECS.names() if kind in codecs]
