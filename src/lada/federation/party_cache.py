"""A cache of the parties in a process's memory, so that a client's model is already loaded for its next message."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lada.federation.checkpoints import MANIFEST
from lada.federation.parties import Place
from lada.rounds.party import Party

ROOM = 2**26
"""The most bytes of weights that stay in memory besides the active party: enough for several tiny models, but no large
one."""
MOST = 8
"""The most parties in memory, since their data and answers need room too."""

_held: dict[tuple[Place, str], tuple[bytes, Party]] = {}
"""The parties that worked last, the latest at the end. With many clients, there are many processes, or parties are
swapped through the disk."""


@contextmanager
def party(place: Place, name: str, open: Callable[[], Party]) -> Iterator[Party]:
    """Yield the party of the newest checkpoint: from memory if that is the same, else from `open`.

    Write the checkpoint before leaving the context. If an exception leaves it, the party is dropped.
    """
    stamp, found = _held.pop((place, name), (b"", None))
    _make_room()
    if found is None or stamp != _stamp(place, name):
        found = open()
    yield found
    _held[place, name] = _stamp(place, name), found


def holds(place: Place, name: str) -> bool:
    """Return whether the party of the newest checkpoint is in memory."""
    return (place, name) in _held and _held[place, name][0] == _stamp(place, name)


def forget() -> None:
    """Drop all parties from memory."""
    _held.clear()


def _make_room() -> None:
    """Drop the least recently active parties until there is room for one more."""
    sizes = {key: _weights(party) for key, (_, party) in _held.items()}
    for key in tuple(_held):
        if sum(sizes[key] for key in _held) <= ROOM and len(_held) < MOST:
            return
        del _held[key]


def _weights(party: Party) -> int:
    """Return the bytes of a party's weights; 0 if its model is elsewhere."""
    model = getattr(party.learner, "model", None)
    return 0 if model is None else sum(weight.nbytes for weight in model.parameters())


def _stamp(place: Place, name: str) -> bytes:
    """Return the digests of a party's newest checkpoint; empty if there is none."""
    file = place.checkpoint(name) / MANIFEST
    return file.read_bytes() if file.exists() else b""
