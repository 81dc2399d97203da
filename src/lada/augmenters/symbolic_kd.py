"""Symbolic knowledge distillation: generate, let a critic filter, keep by recall (arXiv 2110.07178).

The LLM writes questions after a few examples, and answers each several times. A critic p(x) estimates how likely the
answer is right; it is a logistic regression on two features of a draft, the agreement a of the paths and the mean
token log-prob ℓ of the chosen one:

    p(x) = σ(w₀ + w₁·a + w₂·ℓ)        keep x  ⟺  p(x) ≥ θ        θ = max {t : recall(t) ≥ ρ}

Public samples with gold answers calibrate it: the LLM answers them in the same way, and the verdict is the label. One
half trains w, the other sets θ. The released data of the paper have ρ = 0.8 (medium) and ρ = 0.5 (strict).

The authors' code (peterwestai2/symbolic-knowledge-distillation) has a RoBERTa critic of knowledge triples, trained on
judgements of people. Its θ is the mean of two thresholds, of validation and test data, at which the recall falls to ρ.
Our reading: the critic and its labels, one θ from held-out samples at which the recall is still ρ.
"""

from collections import Counter
from collections.abc import Sequence
from math import ceil, inf, isfinite

import numpy as np
from pydantic import Field

from lada.augmenters.base import AUGMENTERS, Augmenter, Draft, Generating, Kept, Prompt, Request, View
from lada.core.needs import State, needs
from lada.core.seeds import generator
from lada.core.terms import Sample, Verb
from lada.tasks.drafts import prompt

RIDGE = 1.0
"""Weight of the squared coefficients, which keeps them finite where the two kinds can be separated."""
NEWTON = 50
"""Steps of Newton's method; it converges in far fewer."""


class SymbolicKdOptions(Generating):
    """Options of symbolic knowledge distillation."""

    recall: float = Field(default=0.8, gt=0, le=1)
    """Share ρ of the right calibration samples that the critic must keep. The paper's data have 0.8 and 0.5."""
    calibration: int = Field(default=40, ge=4, le=10_000)
    """Number of public samples with gold answers that calibrate the critic, once, before the first questions."""
    shots: int = Field(default=5, ge=1, le=100)
    """Public samples that a prompt shows."""


@AUGMENTERS.register(
    "symbolic_kd",
    options=SymbolicKdOptions,
    paper="arXiv 2110.07178",
    status="our reading",
    level="code read",
    needs=needs({Verb.ANSWER, Verb.EXPLAIN}),
    tags=("expansion", "supervised"),
)
class SymbolicKd(Augmenter[SymbolicKdOptions]):
    """The LLM writes questions and answers; a critic keeps those likely to be right, at a chosen recall."""

    labels = True

    def __init__(self, options: SymbolicKdOptions) -> None:
        self.options = options
        self.shown, self.calibrated = options.shots, options.calibration

    def ask(self, state: State, view: View) -> tuple[State, Request]:
        """See Augmenter.ask. Every prompt shows other samples."""
        options, shown = self.options, []
        samples = sorted(view.samples, key=lambda sample: sample.id)
        for number in range(ceil(options.new / options.per_call)):
            rng = generator(view.seed, "shots", number)
            shots = [samples[place] for place in rng.permutation(len(samples))[: options.shots]]
            count = min(options.per_call, options.new - number * options.per_call)
            text = prompt(options.instruction, [("", shots)], count)
            shown.append(Prompt(text, tuple(sample.id for sample in shots), count))
        return state, Request(tuple(shown), () if state else self._labelled(samples, view.seed))

    def _labelled(self, samples: Sequence[Sample], seed: int) -> tuple[Sample, ...]:
        known = [sample for sample in samples if sample.answer is not None and sample.origin is None]
        places = generator(seed, "calibration").permutation(len(known))[: self.options.calibration]
        return tuple(known[place] for place in places)

    def keep(self, state: State, drafts: Sequence[Draft], calibration: Sequence[Draft]) -> tuple[State, Kept]:
        """See Augmenter.keep. Without a right calibration sample it keeps nothing, and calibrates again next time."""
        figures: dict[str, float] = {}
        if not state:
            state, figures = self._calibrated(calibration)
        if not state:
            return state, Kept((), Counter({"critic not calibrated": len(drafts)}), figures)
        scores = critic(features(drafts, likelihoods=bool(state["likelihoods"])), state["weights"])
        finite = np.isfinite(scores)
        kept = finite & (scores >= state["threshold"])
        refused = Counter({"score not finite": int((~finite).sum()), "critic": int((finite & ~kept).sum())})
        figures["threshold"] = float(state["threshold"])
        return state, Kept(tuple(np.flatnonzero(kept).tolist()), +refused, figures)

    def _calibrated(self, calibration: Sequence[Draft]) -> tuple[State, dict[str, float]]:
        """Return critic and threshold from labelled drafts, with figures; the state is empty if none was right."""
        calibration = sorted(calibration, key=lambda each: each.question)
        known = all(isfinite(each.likelihood) for each in calibration)
        right = np.array([each.right is True for each in calibration], dtype=bool)
        x = features(calibration, likelihoods=known)
        weights, valid = fit(x[0::2], right[0::2]), right[1::2]
        held = critic(x[1::2], weights)[valid]
        figures = {"calibration_right": float(right.mean()) if len(right) else 0.0}
        if not len(held):
            return {}, figures
        limit = threshold(held, self.options.recall)
        figures["calibration_recall"] = float((held >= limit).mean())
        return {"weights": weights, "threshold": np.array(limit), "likelihoods": np.array(known)}, figures


def features(drafts: Sequence[Draft], *, likelihoods: bool) -> np.ndarray:
    """Return 1, agreement and mean token log-prob (0 without `likelihoods`) of each draft, float64 [n, 3]."""
    rows = [(1.0, each.agreement, each.likelihood if likelihoods else 0.0) for each in drafts]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def critic(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return p(x) = σ(x·w), float64 [n], for features [n, 3] and weights [3]."""
    with np.errstate(over="ignore", invalid="ignore"):
        return 1 / (1 + np.exp(-(x @ weights)))


def fit(x: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the weights [3] that minimise Σ -log p(label | x) + RIDGE/2·(w₁² + w₂²), for features [n, 3], labels [n].

    Without rows all are 0. Rows that are not finite are left out.
    """
    rows = np.isfinite(x).all(1)
    x, right, ridge = x[rows], right[rows].astype(np.float64), np.diag([1e-6, RIDGE, RIDGE])
    weights = np.zeros(3)
    for _ in range(NEWTON if len(x) else 0):
        p = critic(x, weights)
        curvature = x.T @ (x * (p * (1 - p))[:, None]) + ridge
        step = np.linalg.solve(curvature, x.T @ (p - right) + ridge @ weights)
        weights = weights - step * min(1.0, 5.0 / max(float(abs(step).max()), 5.0))
    return weights


def threshold(scores: np.ndarray, recall: float) -> float:
    """Return the largest θ that at least the share `recall` of the right samples reach; infinity if there are none.

    `scores` [n] are those of the right samples. Without ties, the recall is met within 1/n.
    """
    finite = np.sort(scores[np.isfinite(scores)])[::-1]
    return float(finite[ceil(recall * len(finite) - 1e-9) - 1]) if len(finite) else inf
