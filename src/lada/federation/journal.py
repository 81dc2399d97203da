"""A party's journal: its work and messages since its last checkpoint, so that a resumed run does not repeat them."""

import shutil
from collections.abc import Collection
from pathlib import Path

from lada.core.errors import LadaError
from lada.federation import checkpoints
from lada.federation.checkpoints import Fill


class Journal:
    """Entries by key in a folder, each complete or absent; see lada.rounds.party.Journal.

    A key may contain `/`. An invalid entry counts as absent: its work is then repeated.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def at(self, name: str) -> "Journal":
        """Return the journal of one round or message."""
        return Journal(self._folder / name)

    def load(self, key: str) -> Path | None:
        """Return the folder of an entry; None if there is none."""
        folder = self._folder / key
        try:
            checkpoints.verify(folder)
        except LadaError:
            return None
        return folder

    def folder(self, key: str) -> Path:
        """Return the path of an entry, complete or not, if there is one."""
        return self._folder / key

    def save(self, key: str, fill: Fill) -> None:
        """Write an entry. It may replace an existing one, which must be invalid."""
        shutil.rmtree(self._folder / key, ignore_errors=True)
        checkpoints.save(self._folder / key, fill)

    def remove(self, key: str) -> None:
        """Remove an entry, or all whose keys begin with this one and `/`."""
        shutil.rmtree(self._folder / key, ignore_errors=True)

    def names(self) -> list[str]:
        """Return the rounds or messages that have a journal, sorted."""
        return sorted(entry.name for entry in self._folder.iterdir()) if self._folder.exists() else []

    def prune(self, kept: Collection[str]) -> None:
        """Remove all but the journals of the rounds or messages in `kept`."""
        for name in set(self.names()) - set(kept):
            shutil.rmtree(self._folder / name, ignore_errors=True)
