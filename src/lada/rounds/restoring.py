"""Restores a party's earlier weights after a trial study."""

import shutil
from collections.abc import Callable
from pathlib import Path as FilePath
from tempfile import mkdtemp
from weakref import finalize

from lada.core.errors import InputError
from lada.rounds.party import Party
from lada.rounds.steps import MODEL


def restorer(party: Party, folder: FilePath) -> Callable[[], None]:
    """Return a function that restores the learner's current weights: from memory, else from below `folder`.

    Files on the disk are removed with the last reference to the returned function.
    """
    try:
        weights = {name: weight.copy() for name, weight in party.learner.adapter().items()}
    except InputError:
        place = FilePath(mkdtemp(dir=folder))
        party.learner.save(place / MODEL)

        def reopen() -> None:
            party.learner = party.reopen(place / MODEL)

        finalize(reopen, shutil.rmtree, place, ignore_errors=True)
        return reopen
    return lambda: party.learner.load_adapter(weights)
