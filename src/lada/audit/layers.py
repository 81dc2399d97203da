"""A message part in every form in which it can be read: as sent, unpacked, as the strings of JSON, tokens as text."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lada.audit.frames import unpack
from lada.codecs.soft_targets import SoftTargets
from lada.core.errors import CodecError
from lada.core.plural import counted

WINDOW, OVERLAP = 16 << 20, 1 << 16
"""Bytes that are searched at once, and those at their end that are searched again with the next ones."""
DEPTH = 3
"""Most zstd frames within one another that are unpacked."""
Layer = tuple[str, bytes]
"""How the bytes were come by, and at most WINDOW of them."""


def layers(data: bytes, vocabulary: Sequence[bytes] | None = None) -> Iterator[Layer]:
    """Yield what is to be searched of one message part.

    The strings of an Arrow table lie in its bytes as they are, so unpacking it is enough. Token scores are spelled out
    with the sender's `vocabulary`, a token's bytes by its id, where that is known.
    """
    yield from _layers(data, "as sent", DEPTH)
    if vocabulary is not None:
        try:
            for text in spelled(data, vocabulary):
                yield from _windows(text, "tokens")
        except CodecError:
            return


def _layers(data: bytes, name: str, depth: int) -> Iterator[Layer]:
    yield from _windows(data, name)
    found = "\n".join(strings(data))
    if found:
        yield from _windows(found.encode("utf-8", "surrogatepass"), f"{name}, JSON")
    if depth:
        for part in unpack(data, WINDOW, OVERLAP):
            yield from _layers(part, f"{name}, unpacked", depth - 1)


def _windows(data: bytes, name: str) -> Iterator[Layer]:
    for start in range(0, max(len(data) - OVERLAP, 1), WINDOW - OVERLAP):
        yield name, data[start : start + WINDOW]


def strings(data: bytes) -> Iterator[str]:
    """Yield the strings of a JSON document, keys too; nothing where it is none."""
    if data[:1] not in (b"[", b"{"):
        return
    try:
        left: list[Any] = [json.loads(data)]
    except (ValueError, RecursionError):
        return
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, list):
            left += value


def spelled(data: bytes, vocabulary: Sequence[bytes]) -> Iterator[bytes]:
    """Yield of each sample with token scores its own text and the one that takes the likeliest token everywhere.

    Raises CodecError for what are no token scores over this vocabulary.
    """
    found = SoftTargets(data, known_ids=None)
    if found.vocabulary_size != len(vocabulary):
        raise CodecError(f"token scores over {counted(found.vocabulary_size, 'token')}; expected {len(vocabulary)}")
    for scores in found.values():
        likeliest = scores.top.log_probs.argmax(1)
        for tokens in (scores.tokens, scores.top.ids[np.arange(len(likeliest)), likeliest]):
            yield b"".join(vocabulary[token] for token in tokens.tolist())
