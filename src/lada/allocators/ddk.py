"""DDK's mixture of domains (arXiv 2407.16154): more samples from domains where the student is furthest behind.

For each domain i, ρ[i] = perplexity of the student / perplexity of the teacher. The mixture is

    r[i] = exp(ρ[i]) / Σ exp(ρ)                        at first
    r[i] ← α · r[i] · exp(ρ[i]) / Σ r · exp(ρ) + (1 − α) / N     in every later round

Source: the paper. There, perplexities are of held-out texts, the mixture changes after a fixed number of steps, and an
exhausted domain starts over.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.selection import Drawn, allocate, from_teacher
from lada.core.needs import needs
from lada.core.registry import Pluggable
from lada.core.seeds import generator
from lada.core.terms import Allocation, Verb

RATIO = 20.0
"""Upper limit of the perplexity ratio. Otherwise a domain unknown to the student would take the whole mixture."""


class DdkOptions(Drawn):
    """Options of DDK's mixture. Without `budget`, half of the candidates are drawn."""

    smoothing: float = Field(0.5, ge=0, lt=1)
    """Share of the mixture that follows the student's deficit, the paper's α. The rest is even over the domains."""


@ALLOCATORS.register(
    "ddk",
    options=DdkOptions,
    paper="arXiv 2407.16154",
    status="our reading",
    needs=needs({Verb.ANSWER, Verb.CONFIDENCE}, {Verb.JUDGE}),
    by_order="places are drawn, not ids",
    tags=("labels", "feedback"),
)
class Ddk(Pluggable):
    """Samples drawn by a mixture of their domains, with more where the student is furthest behind the teacher.

    Perplexities are of the teacher's paths, per token of the teacher, so that tokenizers do not matter (our reading). A
    path is studied once, and an exhausted domain leaves the mixture.
    """

    def __init__(self, options: DdkOptions) -> None:
        self.options = options

    def init(self, seed: int) -> State:
        """Return the empty state, which later holds each domain's share of the mixture."""
        return {}

    def apply(self, state: State, candidates: Candidates) -> tuple[State, Allocation, dict[str, float]]:
        """See Allocator.apply."""
        names = [sample.domain for sample in candidates.samples]
        domains, domain = np.unique(np.array(names, dtype=str), return_inverse=True)
        mixture = self._mixture(state, list(domains), perplexity_ratios(candidates, domain, len(domains)))
        allowed = self.options.may_take(candidates.teacher_paths)
        chosen = draw(mixture, domain, allowed, self.options.draws(len(names)), generator(candidates.seed, "ddk"))
        reasons = {i: f"drawn for its domain, which has a share of {mixture[domain[i]]:.2f}" for i in chosen}
        shares = {"largest_share": float(mixture.max()), "smallest_share": float(mixture.min())} if names else {}
        return (
            {**state, **{_key(name): np.array(share) for name, share in zip(domains, mixture, strict=True)}},
            allocate(candidates, chosen, from_teacher(chosen), mixture[domain], reasons),
            {"domains": float(len(domains)), **shares},
        )

    def _mixture(self, state: State, domains: Sequence[str], ratios: np.ndarray) -> np.ndarray:
        """Return each domain's share [N]. A domain that first appears in a later round starts with an even share."""
        if not state:
            return np.exp(ratios) / np.exp(ratios).sum()
        even, smoothing = 1 / max(len(domains), 1), self.options.smoothing
        psi = np.array([float(state.get(_key(name), even)) for name in domains]) * np.exp(ratios)
        return smoothing * psi / psi.sum() + (1 - smoothing) * even


def perplexity_ratios(candidates: Candidates, domain: np.ndarray, count: int) -> np.ndarray:
    """Return perplexity of the student / perplexity of the teacher on its paths, per domain [count], at most RATIO.

    `domain` [n] numbers each sample's domain. Both are exp of nats per token of the teacher. The ratio is 1 for a
    domain in which no path has both likelihoods.
    """
    teacher = np.array([path.likelihood.total for path in candidates.teacher_paths], dtype=np.float64)
    student = np.array([likelihood.total for likelihood in candidates.student_on_teacher], dtype=np.float64)
    tokens = np.array([path.likelihood.tokens for path in candidates.teacher_paths], dtype=np.float64)
    judged = np.array([likelihood.known for likelihood in candidates.student_on_teacher], dtype=bool)
    known = judged & (tokens > 0) & np.isfinite(teacher) & np.isfinite(student)
    gaps = np.bincount(domain[known], teacher[known] - student[known], minlength=count)  # nats
    sizes = np.bincount(domain[known], tokens[known], minlength=count)
    return np.exp(np.minimum(gaps / np.maximum(sizes, 1), np.log(RATIO)))


def draw(
    mixture: np.ndarray, domain: np.ndarray, allowed: np.ndarray, count: int, rng: np.random.Generator
) -> list[int]:
    """Draw a domain by its share and then one of its remaining samples, `count` times; return their positions.

    Only `allowed` [n] samples are drawn, and only they count when a domain is exhausted.

    The shares of exhausted domains go to the others in proportion. All draws are made at once: the samples of a domain
    arrive as a Poisson process with its share as the rate, which gives the same distribution.
    """
    arrival = np.full(len(domain), np.inf)
    for number, share in enumerate(mixture):
        members = rng.permutation(np.flatnonzero((domain == number) & allowed))
        arrival[members] = np.cumsum(rng.exponential(1 / share, len(members)))
    return [int(i) for i in np.argsort(arrival, kind="stable") if allowed[i]][:count]


def _key(domain: str) -> str:
    return f"share of {domain}"
