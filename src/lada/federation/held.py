"""The party that a process has in memory, so that a client's next message finds its model loaded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lada.federation.checkpoints import MANIFEST
from lada.federation.parties import Place
from lada.hosts.party import Party

_held: dict[tuple[Place, str], tuple[bytes, Party]] = {}
"""One entry at most: models are large, and whoever has many clients has many processes or swaps through the disk."""


@contextmanager
def party(place: Place, name: str, open: Callable[[], Party]) -> Iterator[Party]:
    """Give the party as its newest checkpoint has it: from memory where that is the same, else from `open`.

    To be left with the checkpoint written. A party that was left by an exception is forgotten.
    """
    stamp, found = _held.pop((place, name), (b"", None))
    forget()
    if found is None or stamp != _stamp(place, name):
        found = open()
    yield found
    _held[place, name] = _stamp(place, name), found


def holds(place: Place, name: str) -> bool:
    """Return whether the party is in memory as its newest checkpoint has it."""
    return (place, name) in _held and _held[place, name][0] == _stamp(place, name)


def forget() -> None:
    """Let go of the party in memory."""
    _held.clear()


def _stamp(place: Place, name: str) -> bytes:
    """Return the digests of a party's newest checkpoint; nothing where there is none."""
    file = place.checkpoint(name) / MANIFEST
    return file.read_bytes() if file.exists() else b""
