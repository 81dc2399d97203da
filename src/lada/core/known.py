"""The content of one message with what is known about it, so that nothing is hashed or decoded twice."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class Known(Mapping[str, bytes]):
    """A payload: bytes by kind. Decoded parts live as long as the payload, or until they are forgotten."""

    def __init__(self, payload: Mapping[str, bytes]) -> None:
        self._payload = payload
        self._digests: dict[str, str] = {}
        self.made: dict[str, Any] = {}
        """What was made of each part, by kind."""
        self._settled = False

    def __getitem__(self, kind: str) -> bytes:
        return self._payload[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._payload)

    def __len__(self) -> int:
        return len(self._payload)

    def settle(self) -> None:
        """Cache no further decoded parts: anything not cached is decoded on each request."""
        self._settled = True

    def keep(self, kind: str, made: Any) -> None:
        """Cache a decoded part, unless the payload is settled."""
        if not self._settled:
            self.made[kind] = made

    def size(self, kind: str) -> int:
        """Return the bytes of a part."""
        return len(self._payload[kind])

    def digest(self, kind: str) -> str:
        """Return the SHA-256 of a part, hexadecimal."""
        if kind not in self._digests:
            self._digests[kind] = hashlib.sha256(self._payload[kind]).hexdigest()
        return self._digests[kind]


def known(payload: Mapping[str, bytes]) -> Known:
    """Return a payload with a cache."""
    return payload if isinstance(payload, Known) else Known(payload)


def read(payload: Mapping[str, bytes], kind: str, make: Callable[[], T]) -> T:
    """Return what `make` makes of a part. A payload with a cache does that once, unless it is settled."""
    if not isinstance(payload, Known):
        return make()
    if kind in payload.made:
        return payload.made[kind]
    made = make()
    payload.keep(kind, made)
    return made


def forget(payload: Mapping[str, bytes]) -> None:
    """Drop the cached parts of a payload."""
    if isinstance(payload, Known):
        payload.made.clear()
