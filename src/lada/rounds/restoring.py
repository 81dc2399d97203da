"""A party that is made to study on trial goes back to the weights that it had."""

from collections.abc import Callable
from pathlib import Path as FilePath

from lada.core.errors import InputError
from lada.rounds.party import Party


def restorer(party: Party, folder: FilePath) -> Callable[[], None]:
    """Return what gives a learner the weights back that it has now: from memory, else from a folder on the disk."""
    try:
        weights = {name: weight.copy() for name, weight in party.learner.adapter().items()}
    except InputError:
        party.learner.save(folder)

        def reopen() -> None:
            party.learner = party.reopen(folder)

        return reopen
    return lambda: party.learner.load_adapter(weights)
