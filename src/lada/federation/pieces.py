"""Replies that are too large for one message: the client announces their size, and the server fetches them.

Only one piece is in transit at a time, so neither side holds more of a reply in memory: the client has it on disk, and
the server writes it to disk.
"""

import json
from collections.abc import Mapping

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lada.core.errors import FederationError
from lada.core.plural import counted

PIECE = 8 << 20
"""The most bytes of payload in one message."""
SIZES, WHAT, BYTES = "sizes", "what", "bytes"
"""Kinds of message parts: the sizes of a large reply's kinds instead of the reply; a request for a piece; a piece."""
FETCH = "fetch"
"""The phase in which a client sends a piece of its last reply."""


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", strict=True))
class What:
    """A request for one piece of a reply."""

    phase: str
    kind: str
    start: int = Field(ge=0)
    length: int = Field(ge=1, le=PIECE)

    def encode(self) -> dict[str, bytes]:
        """Return the payload that asks for this piece."""
        return {WHAT: TypeAdapter(What).dump_json(self)}


_SIZES = TypeAdapter(dict[str, int])


def decode_what(payload: Mapping[str, bytes]) -> What:
    """Return the request to a client. Raises FederationError for anything that `What.encode` does not write."""
    if set(payload) != {WHAT}:
        raise FederationError(f"fetch: expected exactly the kind {WHAT!r}")
    try:
        return TypeAdapter(What).validate_json(payload[WHAT])
    except ValidationError:
        raise FederationError("fetch: expected phase, kind, start and length") from None


def announce(payload: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the payload to send for a reply: the reply itself or, if it is too large for one message, its sizes."""
    sizes = {kind: len(data) for kind, data in payload.items() if isinstance(data, bytes)}  # `encode` refuses the rest
    return dict(payload) if sum(sizes.values()) <= PIECE else {SIZES: json.dumps(sizes).encode()}


def announced(payload: Mapping[str, bytes], limit: int) -> dict[str, int] | None:
    """Return the bytes of each kind of a reply that must be fetched; None for a complete reply.

    Raises FederationError if these are more than `limit` bytes or cannot be read.
    """
    if set(payload) != {SIZES}:
        return None
    try:
        sizes = _SIZES.validate_json(payload[SIZES], strict=True)
    except ValidationError:
        raise FederationError("sizes: expected the bytes of each kind") from None
    if not sizes or min(sizes.values()) < 0:
        raise FederationError("sizes: expected at least one kind, and no negative number")
    if sum(sizes.values()) > limit:
        raise FederationError(
            f"sizes: {counted(sum(sizes.values()), 'byte')}; expected at most limits.reply_bytes, {limit}"
        )
    return sizes
