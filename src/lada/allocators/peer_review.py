"""Peer review: what is right is what the parties, weighed by their reliability, believe. No gold answer is read.

One filter serves one (teacher, student) pair in one direction, as in `lada`. It estimates how likely each answer to a
question is right, from

1. the votes of all parties that it sees, weighed by each one's reliability in the question's domain;
2. the log-probs that parties give their own and each other's paths, comparable once they are standardised.

Then LaDa's rule applies to what is believed: the student's own path if its answer is, else the teacher's if that is.

At the server of `fedmkt`, all clients and the LLM vote. A client sees these votes if the host has `share_votes`. With
two parties, the votes alone cannot tell which is the better one. So equal answers are believed, and of different ones
that whose log-probs look more like those of answers on which both agree; mostly none is.

Source: arXiv 2602.18749 for the filter, `annotators` for the model. The combination is ours.
"""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from lada.allocators.annotators import SUREST, Prior, estimate
from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.lada import reachable
from lada.allocators.memoryless import CONFIDENT, Memoryless, Outcome
from lada.allocators.pairs import of_pair
from lada.allocators.selection import Budgeted
from lada.core.needs import needs

TEACHER, STUDENT = 0, 1
"""The places of the pair among the parties."""


class PeerReviewOptions(Budgeted):
    """Options of peer review; `budget` is inherited."""

    votes: bool = True
    """Count who gives which answer. Otherwise each answer is judged alone, by its writer's reliability and its
    log-probs."""
    reliability: bool = True
    """Estimate how reliable each party is in each domain, and each judge's log-probs. Otherwise all count alike."""
    likelihood: bool = True
    """Use log-probs of paths."""
    threshold: float = Field(0.6, ge=0.5, lt=1)
    """How likely an answer must be right to be believed."""
    answers: int = Field(10, ge=2, le=1_000_000)
    """K, about how many different answers a question gets. Two parties that are wrong agree once in K - 1 cases."""
    prior: float = Field(0.6, gt=0, le=SUREST)
    """Reliability that each party is assumed to have at first: the share of its answers that are right."""
    strength: float = Field(10.0, gt=0, le=1e6)
    """How many answers this assumption counts for."""

    @model_validator(mode="after")
    def _leaves_evidence(self) -> Self:
        if not (self.votes or self.reliability or self.likelihood):
            raise ValueError("votes, reliability and likelihood are all off, which leaves no evidence; turn one on")
        if self.prior * self.answers <= 1:
            raise ValueError(
                f"prior is {self.prior:g}, no more than a guess among {self.answers} answers; expected more than "
                f"{1 / self.answers:g}"
            )
        return self


@ALLOCATORS.register(
    "peer_review",
    options=PeerReviewOptions,
    paper="arXiv 2602.18749",
    status="our reading",
    needs=needs(CONFIDENT, CONFIDENT, own_paths=True, reviews=True),
    by_order="places are drawn",
    tags=("labels", "feedback", "self-knowledge"),
)
class PeerReview(Memoryless):
    """The student's own path where the parties believe its answer, else the teacher's where they believe that."""

    options: PeerReviewOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply. A choice's score is how likely its answer is right. With a budget, questions are drawn
        at random."""
        options, reviews = self.options, candidates.reviews or of_pair(candidates)
        _, clusters = np.unique([sample.domain for sample in candidates.samples], return_inverse=True)
        found = estimate(
            reviews,
            clusters.reshape(-1).astype(np.int64),
            Prior(options.answers, options.prior, options.strength),
            learn=options.reliability,
            likelihood=options.likelihood,
            votes=options.votes,
        )
        believed = found.posterior >= options.threshold
        own, taught = believed[:, STUDENT], believed[:, TEACHER]
        written = np.array([bool(path.text) for path in candidates.student_paths], dtype=bool)
        scores = np.where(own & written, found.posterior[:, STUDENT], found.posterior[:, TEACHER])
        allocation, diagnostics = reachable(candidates, own & written, taught, options, scores)
        reliable = found.reliability.mean(0) if len(found.reliability) else np.full(len(reviews.parties), options.prior)
        return (
            state,
            allocation,
            {
                **diagnostics,
                "parties": float(len(reviews.parties)),
                "believed": float((own | taught).mean()) if len(own) else 0.0,
                "teacher_reliability": float(reliable[TEACHER]),
                "student_reliability": float(reliable[STUDENT]),
            },
        )
