"""What one message carries, with what is known of it already, so that nothing is hashed or decoded again."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class Known(Mapping[str, bytes]):
    """A payload: bytes by kind. What was made of its parts lives as long as it does, or until it is forgotten."""

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
        """Keep nothing more of what is made of the parts: whatever is not there is made each time it is asked for."""
        self._settled = True

    def keep(self, kind: str, made: Any) -> None:
        """Keep what was made of a part, unless the payload is settled."""
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
    """Return a payload as one of which things are known."""
    return payload if isinstance(payload, Known) else Known(payload)


def read(payload: Mapping[str, bytes], kind: str, make: Callable[[], T]) -> T:
    """Return what `make` makes of a part: of a known payload that is done once, unless that is settled."""
    if not isinstance(payload, Known):
        return make()
    if kind in payload.made:
        return payload.made[kind]
    made = make()
    payload.keep(kind, made)
    return made


def forget(payload: Mapping[str, bytes]) -> None:
    """Let go of what was made of a payload's parts."""
    if isinstance(payload, Known):
        payload.made.clear()
