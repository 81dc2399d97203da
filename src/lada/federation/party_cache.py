"""The parties that a process has in memory, so that a client's next message finds its model loaded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lada.federation.checkpoints import MANIFEST
from lada.federation.parties import Place
from lada.rounds.party import Party

ROOM = 2**26
"""Bytes of weights that stay in memory beside the party at work: those of several tiny models, of no large one."""
MOST = 8
"""Parties that stay in memory, whose data and answers take room too."""

_held: dict[tuple[Place, str], tuple[bytes, Party]] = {}
"""Those that worked last, the latest at the end. Who has many clients has many processes or swaps through the disk."""


@contextmanager
def party(place: Place, name: str, open: Callable[[], Party]) -> Iterator[Party]:
    """Give the party as its newest checkpoint has it: from memory where that is the same, else from `open`.

    To be left with the checkpoint written. A party that was left by an exception is forgotten.
    """
    stamp, found = _held.pop((place, name), (b"", None))
    _make_room()
    if found is None or stamp != _stamp(place, name):
        found = open()
    yield found
    _held[place, name] = _stamp(place, name), found


def holds(place: Place, name: str) -> bool:
    """Return whether the party is in memory as its newest checkpoint has it."""
    return (place, name) in _held and _held[place, name][0] == _stamp(place, name)


def forget() -> None:
    """Let go of all parties in memory."""
    _held.clear()


def _make_room() -> None:
    """Let go of those that worked longest ago, until the others leave room for one more."""
    sizes = {key: _weights(party) for key, (_, party) in _held.items()}
    for key in tuple(_held):
        if sum(sizes[key] for key in _held) <= ROOM and len(_held) < MOST:
            return
        del _held[key]


def _weights(party: Party) -> int:
    """Return the bytes of a party's weights; 0 where its model is elsewhere."""
    model = getattr(party.learner, "model", None)
    return 0 if model is None else sum(weight.nbytes for weight in model.parameters())


def _stamp(place: Place, name: str) -> bytes:
    """Return the digests of a party's newest checkpoint; nothing where there is none."""
    file = place.checkpoint(name) / MANIFEST
    return file.read_bytes() if file.exists() else b""
