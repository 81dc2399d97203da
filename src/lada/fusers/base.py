"""The contract of a fuser: which of several parties' paths for a public sample a receiver learns."""

from collections.abc import Mapping

from lada.core.needs import State
from lada.core.registry import Pluggable, Registry
from lada.core.terms import Path


class Fuser(Pluggable):
    """A pure rule over the offers for one sample, with explicit state. Its choice may depend on the receiver."""

    pairwise: bool = False
    """Whether its choice follows from comparing two offers at a time, without state. If so, offers are compared as they
    arrive, and only one for each sample is in memory."""

    def fuse(
        self, state: State, receiver: str, offers: Mapping[str, Path], own: Path | None = None
    ) -> tuple[State, str | None]:
        """Return the next state and the party whose path `receiver` learns; None if no path is worth learning.

        `offers` are the paths for one sample, by party; `own` is the receiver's own path, None if it has none.
        """
        raise NotImplementedError


FUSERS: Registry[Fuser] = Registry("fuser", "lada.fusers")
