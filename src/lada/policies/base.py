"""The contract of a policy: what a party removes from its knowledge, locally, before anything is encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lada.core.needs import State
from lada.core.registry import Pluggable, Registry
from lada.core.results import PartyReport
from lada.core.terms import Knowledge, Likelihood, OwnQuestions, Sample, TokenScores

if TYPE_CHECKING:
    import numpy as np


def no_vectors() -> tuple[Sequence[Sample], np.ndarray]:
    """Raise: this handmade owner lacks embeddings of the public questions."""
    raise LookupError("this owner lacks `embed`; the policy needs the vectors of the public questions")


def no_own() -> OwnQuestions | None:
    """Raise: this handmade owner lacks its private questions."""
    raise LookupError("this owner lacks `own`; the policy needs the vectors of its private questions")


def _no_model(*_: object) -> Sequence[TokenScores | None]:
    """Raise: there is no model."""
    raise LookupError("only an owner in a run has a model")


@dataclass(frozen=True, slots=True)
class Owner:
    """The party whose knowledge is sent, and what a policy may ask of it."""

    name: str
    seed: int
    """The run's seed."""
    judge: Callable[[Sequence[tuple[str, str]]], Sequence[Likelihood]]
    """Scores (sample id, text) pairs with the owner's learner."""
    verify: Callable[[str, str], tuple[str | None, bool | None]]
    """Returns the answer and the verdict of a text for a sample id."""
    note: Callable[[str], None]
    """Adds a notice to the owner's report, which is sent. It must contain nothing but numbers of what was done."""
    embed: Callable[[], tuple[Sequence[Sample], np.ndarray]] = no_vectors
    """Returns the public samples and the owner's embeddings of their questions, float32 [n, width]. It needs
    Verb.EMBED."""
    own: Callable[[], OwnQuestions | None] = no_own
    """Returns the owner's private samples, embedded in the same way. It needs Verb.EMBED and `own_vectors`."""
    private: Sequence[Sample] = ()
    """The owner's private samples. Nothing of them may leave."""
    public: Sequence[Sample] = ()
    """The public samples, which all parties have."""
    words: Sequence[bytes] = ()
    """The bytes of the owner's tokens, by id; only for policies on token scores."""
    score_before: Callable[[Sequence[tuple[str, str]], int], Sequence[TokenScores | None]] = _no_model
    """Scores (sample id, text) pairs token by token with the model that the owner had before the run, with so many
    tokens at each position."""


class Policy(Pluggable):
    """A rule with explicit state and no side effects. A party has a chain of them."""

    texts: bool = False
    """Whether it changes texts. It then runs before distinctive passages are withheld, and again for every replacement
    path. It does not run on gold texts, which all parties have. A changed text gets no soft targets."""
    losses: bool = False
    """Whether it hides losses. Soft targets would reveal them exactly, so the two are refused together."""
    scores: bool = False
    """Whether it changes token scores. It is refused where the objective asks for none, since it would do nothing."""

    def release(self, state: State, knowledge: Knowledge, owner: Owner) -> tuple[State, Knowledge]:
        """Return the next state and the part of the knowledge that may leave.

        A changed text leaves with the answer, verdict and likelihood of the new text.
        """
        return state, knowledge

    def release_scores(
        self, state: State, knowledge: Knowledge, scores: Mapping[str, TokenScores], owner: Owner
    ) -> tuple[State, Mapping[str, TokenScores]]:
        """Return the next state and the token scores that may leave, given those of the released `knowledge`, by id.

        A text whose own tokens are scored otherwise than before leaves with the likelihood of the released scores.
        """
        return state, scores

    def report(self, report: PartyReport, owner: str, address: Sequence[str | int]) -> PartyReport:
        """Return what may leave of the party's report. `address` seeds any randomness."""
        return report


POLICIES: Registry[Policy] = Registry("policy", "lada.policies")
