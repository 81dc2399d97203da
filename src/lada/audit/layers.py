"""A message part in every form in which it can be read: as sent, unpacked, as the strings of JSON, tokens as text."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from lada.audit.frames import unpack
from lada.codecs.judgements import TOP
from lada.codecs.metrics import strings
from lada.codecs.soft_targets import MARK, spelled
from lada.core.errors import CodecError

WINDOW, OVERLAP = 16 << 20, 1 << 16
"""The number of bytes that are searched at once, and how many at their end are searched again with the next ones."""
DEPTH = 3
"""The most nested zstd frames that are unpacked."""
Layer = tuple[str, bytes]
"""How the bytes were obtained, and at most WINDOW of them."""


def layers(data: bytes, vocabulary: Sequence[bytes] | None = None) -> Iterator[Layer]:
    """Yield the bytes of one message part to search.

    An Arrow table's bytes contain its strings unchanged, so unpacking it is enough. Token scores are spelled out with
    the sender's `vocabulary` (a token's bytes by its id), if it is known.
    """
    yield from _layers(data, "as sent", DEPTH)
    if vocabulary is None:
        return
    for mark in (MARK, TOP):
        with suppress(CodecError):
            for text in spelled(data, vocabulary, mark):
                yield from _windows(text, "tokens")


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
