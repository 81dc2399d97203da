"""A cache of work that several runs have in common and one of them does."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

from lada.federation import checkpoints
from lada.federation.checkpoints import Fill
from lada.federation.journal import Journal


class SharedCache:
    """Entries by key in a folder that processes share, each complete or absent; see lada.rounds.party.Journal.

    An entry is never replaced, since another process may be reading it: all processes write the same under a key.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, key: str) -> Path | None:
        """Return the folder of an entry; None if there is none."""
        return Journal(self._folder).load(key)

    def save(self, key: str, fill: Fill) -> None:
        """Write an entry, unless there is one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        staging = Path(mkdtemp(dir=self._folder, prefix=".staging-"))
        try:
            checkpoints.save(staging / key, fill)
            if not (self._folder / key).exists():
                (staging / key).rename(self._folder / key)
        except OSError:  # another process was faster, or there is no space: the work is repeated if needed
            pass
        finally:
            shutil.rmtree(staging, ignore_errors=True)
