"""Replies that are too large for one message: the client says how large they are, and the server fetches them.

One piece is under way at a time, so neither end ever holds more of a reply than it does anyway: the client has it on
disk, the server writes it to disk.
"""

import json
from collections.abc import Mapping

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lada.core.errors import FederationError
from lada.core.plural import counted

PIECE = 8 << 20
"""Most bytes of payload in one message."""
SIZES, WHAT, BYTES = "sizes", "what", "bytes"
"""Kinds: in the place of a large reply the bytes of each of its kinds; what is fetched; a piece of it."""
FETCH = "fetch"
"""The phase in which a client hands out a piece of its last reply."""


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", strict=True))
class What:
    """Which piece of which reply."""

    phase: str
    kind: str
    start: int = Field(ge=0)
    length: int = Field(ge=1, le=PIECE)

    def encode(self) -> dict[str, bytes]:
        """Return the payload that asks for this piece."""
        return {WHAT: TypeAdapter(What).dump_json(self)}


_SIZES = TypeAdapter(dict[str, int])


def decode_what(payload: Mapping[str, bytes]) -> What:
    """Return what a client is asked for. Raises FederationError for anything that `What.encode` does not write."""
    if set(payload) != {WHAT}:
        raise FederationError(f"fetch: expected exactly the kind {WHAT!r}")
    try:
        return TypeAdapter(What).validate_json(payload[WHAT])
    except ValidationError:
        raise FederationError("fetch: expected phase, kind, start and length") from None


def announce(payload: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what goes out in the place of a reply: itself or, if it is too large for one message, its sizes."""
    sizes = {kind: len(data) for kind, data in payload.items() if isinstance(data, bytes)}  # the rest `encode` refuses
    return dict(payload) if sum(sizes.values()) <= PIECE else {SIZES: json.dumps(sizes).encode()}


def announced(payload: Mapping[str, bytes], limit: int) -> dict[str, int] | None:
    """Return the bytes of each kind of a reply that is to be fetched; None for one that is whole.

    Raises FederationError where that is more than `limit` bytes or not to be read.
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
