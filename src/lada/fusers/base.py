"""The contract of a fuser: which of several parties' knowledge of a public sample a receiver learns.

A host in which parties write paths asks a fuser to choose one (`fuse`). A host that averages distributions asks it for
the members' weights (`weigh`), if it `weighs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lada.core.needs import State
from lada.core.registry import Pluggable, Registry
from lada.core.terms import Path, SparseLogProbs


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each member counts in what each receiver learns."""

    of: Mapping[str, Mapping[str, float]]
    """By receiver, the weight (>= 0) of each member. A receiver without an entry learns the plain mean."""
    notices: tuple[str, ...] = ()
    """What people should know, such as advice."""


class Fuser(Pluggable):
    """A pure rule over the offers for one sample, with explicit state. Its choice may depend on the receiver."""

    weighs: bool = False
    """Whether it weighs distributions instead of choosing among paths. Only a host that averages distributions can use
    such a fuser."""

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

    def weigh(
        self, state: State, members: Mapping[str, Mapping[str, SparseLogProbs]], vocabulary_size: int
    ) -> tuple[State, Weights]:
        """Return the next state and the weights of the members for each member as a receiver.

        `members` are each member's distributions over the tokens of the public texts, by sample, all over one
        vocabulary.
        """
        raise NotImplementedError


FUSERS: Registry[Fuser] = Registry("fuser", "lada.fusers")
