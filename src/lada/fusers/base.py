"""The contract of a fuser: of several parties' paths for one public sample, which one does a receiver learn?"""

from collections.abc import Mapping

from lada.core.needs import State
from lada.core.registry import Pluggable, Registry
from lada.core.terms import Path


class Fuser(Pluggable):
    """A rule over the offers for one sample, pure over explicit state. It may differ from one receiver to another."""

    pairwise: bool = False
    """Whether it takes of all offers the one that it takes of any two of them, and keeps no state: then offers are held
    against each other as they come, and no more than one for each sample is in memory."""

    def fuse(
        self, state: State, receiver: str, offers: Mapping[str, Path], own: Path | None = None
    ) -> tuple[State, str | None]:
        """Return the next state and the party whose path `receiver` learns; None where none is worth it.

        `offers` are the paths for one sample by party; `own` is the receiver's own path, None where it has none.
        """
        raise NotImplementedError


FUSERS: Registry[Fuser] = Registry("fuser", "lada.fusers")
