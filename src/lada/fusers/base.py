"""The contract of a fuser: of several parties' paths for one public sample, which one is learnt?"""

from collections.abc import Mapping
from typing import Protocol

from lada.core.registry import Registry
from lada.core.terms import Path


class Fuser(Protocol):
    """A rule, pure over one sample."""

    def fuse(self, proposals: Mapping[str, Path], own: Path | None = None) -> str | None:
        """Return the party whose path is learnt; None where none is worth it.

        `proposals` are the paths for one sample by party; `own` is the receiver's own path, None where it has none.
        """
        ...


FUSERS: Registry[Fuser] = Registry("fuser", "lada.fusers")
