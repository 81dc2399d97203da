"""Learning from a pair: follow the chosen path and move away from the rejected one, until it is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from lada.core.bounds import SLIGHTEST, STEEPEST
from lada.core.needs import Needs, Start
from lada.core.registry import Options
from lada.core.terms import Lesson, Path, Sample, Verb
from lada.models.objective import Objective, Pairs, Scored, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.forms import dpo, hinge, lost, odds_ratio, simpo, unlikelihood
from lada.objectives.preference import Prefer, Unpaired, make_lesson

if TYPE_CHECKING:
    from torch import Tensor


class ContrastiveOptions(Options):
    """`loss = NLL(chosen) + mean over pairs of (weight * contrast + keep * drop of the chosen path)`.

    Our reading of the paper's loss is `form: dpo, reference: true, normalise: false, alpha: 0.1, weight: 1, prefer:
    role, unpaired: skip`. The paper may not use a reference, in which case `reference: false` applies.

    On the built-in corpus no form beat plain NLL on the same lessons. The odds ratio at weight 0.1 and the unlikelihood
    of the first diverging token tie with NLL; DPO and SimPO lose. Hence the mild default.
    """

    form: Literal["dpo", "simpo", "hinge", "odds_ratio", "first_divergence"] = "odds_ratio"
    """The contrast: ORPO's odds ratio, DPO, SimPO, a hinge that stops at `margin`, or unlikelihood of the first token
    that differs."""
    alpha: float = 1.0
    """Temperature of the contrast, above 0; for dpo and simpo only. Common values are 0.1 for DPO over whole paths and
    2 for SimPO."""
    margin: float = 0.0
    """γ, at least 0: the margin by which the chosen path should lead, for simpo and hinge only. For hinge it is in nats
    per token."""
    weight: float = 0.1
    """λ, at least 0: weight of the contrast. The NLL of the chosen path keeps weight 1. At 0, the preference still
    selects the path to learn, and a study costs half as much."""
    reference: bool = False
    """Compare with the learner as it was before this study; for dpo only."""
    normalise: bool = True
    """Use the mean log-prob of a path's tokens instead of their sum. Only dpo allows the sum."""
    keep: float = 0.0
    """Weight, at least 0, of a penalty for a chosen path that is less likely than before this study. Above 0, the paths
    of a pair are scored once more, before the study."""
    start: Start = "path"
    """Where the contrast starts: with the whole paths, at the first step in which they differ (`step`), or at the first
    step of the rejected path that the task knows to be wrong (`wrong_step`). Steps are lines and sentences. The chosen
    path then counts from the first step that differs. `first_divergence` does not use it."""
    prefer: Prefer = "verified"
    """Which path is chosen: always the teacher's (`role`), or the one whose answer is verified as right."""
    unpaired: Unpaired = "nll"
    """For a sample without a rejected path: learn its chosen path by NLL alone, or skip it."""

    @model_validator(mode="after")
    def _possible(self) -> ContrastiveOptions:
        if not SLIGHTEST <= self.alpha <= STEEPEST:
            raise ValueError(f"alpha is {self.alpha}; expected a number above 0, {SLIGHTEST:g} to {STEEPEST}")
        for name in ("weight", "margin", "keep"):
            value = getattr(self, name)
            if not 0 <= value <= STEEPEST:
                raise ValueError(f"{name} is {value}; expected a number from 0 to {STEEPEST}")
        if self.keep and not self.weight:
            raise ValueError(f"keep is {self.keep} at weight 0, where no pair is scored; expected a weight, or keep 0")
        reads = {
            "dpo": {"alpha", "reference", "normalise", "start"},
            "simpo": {"alpha", "margin", "start"},
            "hinge": {"margin", "start"},
            "odds_ratio": {"start"},
            "first_divergence": set(),
        }
        for name in ("alpha", "margin", "reference", "normalise", "start"):
            value, default = getattr(self, name), type(self).model_fields[name].default
            if value != default and name not in reads[self.form]:
                able = ", ".join(form for form, names in reads.items() if name in names)
                raise ValueError(
                    f"{name} is {value}, but form {self.form} does not use it; expected {name} {default}, or a form "
                    f"that uses it: {able}"
                )
        return self


def asks(options: ContrastiveOptions) -> Needs:
    """Return what the learner must be able to do. At weight 0, rejected paths need not be scored."""
    return Needs(
        student=frozenset({Verb.STUDY}),
        rejected=options.weight > 0,
        reference=options.reference or options.keep > 0,
        start=options.start if options.weight else None,
    )


@OBJECTIVES.register(
    "contrastive",
    options=ContrastiveOptions,
    paper="arXiv 2602.18749",
    status="our reading",
    needs=asks,
    tags=("labels", "self-knowledge", "supervised", "ranking"),
)
class Contrastive(Objective):
    """Negative log-likelihood of the chosen path plus a contrast with the rejected one."""

    options: ContrastiveOptions

    def lesson(self, sample: Sample, chosen: Path, other: Path) -> Lesson | None:
        """See Objective.lesson: the options decide which path is chosen and which is rejected."""
        return make_lesson(sample, chosen, other, self.options.prefer, self.options.unpaired)

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective. Pairs count by their lesson's weight. Rows without a pair contribute their NLL alone."""
        loss = nll(scored)
        if scored.pairs is None:
            return loss
        contrast, drop = self._pairs(scored, scored.pairs)
        weights, count = scored.weights[scored.pairs.rows], scored.batch_pairs or 1.0
        loss = loss + self.options.weight * (contrast * weights).sum() / count
        return loss + self.options.keep * (drop * weights).sum() / count if self.options.keep else loss

    def _pairs(self, scored: Scored, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return the contrast of each pair, and by how much its chosen path became less likely, both [m] nats."""
        chosen, chosen_size = _from(pairs.chosen_start, scored.log_probs[pairs.rows], scored.mask[pairs.rows])
        rejected, rejected_size = _from(pairs.rejected_start, pairs.log_probs, pairs.mask)
        if not self.options.normalise:
            chosen_size = rejected_size = 1
        drop = lost(chosen, pairs.reference_chosen) / chosen_size
        if self.options.reference:
            chosen, rejected = chosen - pairs.reference_chosen, rejected - pairs.reference_rejected
        return self._contrast(chosen / chosen_size, rejected / rejected_size, pairs), drop

    def _contrast(self, chosen: Tensor, rejected: Tensor, pairs: Pairs) -> Tensor:
        """Return the contrast of each pair, [m] nats."""
        match self.options.form:
            case "dpo":
                return dpo(chosen, rejected, self.options.alpha)
            case "simpo":
                return simpo(chosen, rejected, self.options.alpha, self.options.margin)
            case "hinge":
                return hinge(chosen, rejected, self.options.margin)
            case "odds_ratio":
                return odds_ratio(chosen, rejected)
            case "first_divergence":
                return unlikelihood(pairs.log_probs.gather(1, pairs.diverges[:, None])[:, 0])


def _from(start: Tensor, log_probs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums [m] of log-probs [m, L] from token `start` [m] on, and the numbers of tokens [m], at least 1."""
    counts = mask & (mask.cumsum(1) > start[:, None])
    return (log_probs * counts).sum(1), counts.sum(1).clamp(min=1)
