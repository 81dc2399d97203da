"""The contract of a policy: what does a party take out of what it knows, at home, before anything is encoded?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lada.core.needs import State
from lada.core.registry import Pluggable, Registry
from lada.core.results import PartyReport
from lada.core.terms import Knowledge, Likelihood


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose knowledge leaves, and what a policy may ask of it."""

    name: str
    seed: int
    """The run's."""
    judge: Callable[[Sequence[tuple[str, str]]], Sequence[Likelihood]]
    """Scores (sample id, text) pairs by the owner's learner."""
    verify: Callable[[str, str], tuple[str | None, bool | None]]
    """Gives the answer and the verdict of a text for a sample id."""
    note: Callable[[str], None]
    """Takes what people should know of what was done, in numbers: it leaves the owner with its report."""


class Policy(Pluggable):
    """A rule, pure over explicit state. A party has a chain of them."""

    texts: bool = False
    """Whether it changes texts. It is then asked before distinctive passages are held back, and again for every path
    sampled in the place of another; not for gold texts, which all have. A changed text gets no soft targets."""
    losses: bool = False
    """Whether it hides losses, which soft targets would give away exactly: the two are refused together."""

    def release(self, state: State, knowledge: Knowledge, owner: Owner) -> tuple[State, Knowledge]:
        """Return the next state and what of the knowledge may leave.

        A changed text leaves with the answer, verdict and likelihood of what it has become.
        """
        return state, knowledge

    def report(self, report: PartyReport, owner: str, address: Sequence[str | int]) -> PartyReport:
        """Return what may leave of the party's report; `address` is what randomness is to be drawn for."""
        return report


POLICIES: Registry[Policy] = Registry("policy", "lada.policies")
