"""Learning from a pair: follow the chosen path and turn away from the rejected one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from lada.core.bounds import SLIGHTEST, STEEPEST
from lada.core.needs import Needs
from lada.core.registry import Options
from lada.core.terms import Lesson, Path, Sample, Verb
from lada.models.objective import Objective, Pairs, Scored, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.forms import dpo, odds_ratio, simpo, unlikelihood
from lada.objectives.preference import Prefer, Unpaired, make_lesson

if TYPE_CHECKING:
    from torch import Tensor


class ContrastiveOptions(Options):
    """`loss = NLL(chosen) + weight * mean over pairs of the contrast`.

    The paper's loss, in our reading: `form: dpo, reference: true, normalise: false, alpha: 0.1, weight: 1,
    prefer: role, unpaired: skip`. Whether it has a reference is not known; `reference: false` is the other reading.

    On the built-in corpus no form beat plain NLL on the same lessons: the odds ratio at weight 0.1 and the
    unlikelihood of the first diverging token tie with it, DPO and SimPO lose. Hence the mild default.
    """

    form: Literal["dpo", "simpo", "odds_ratio", "first_divergence"] = "odds_ratio"
    """The contrast: of ORPO's odds, DPO, SimPO, or unlikelihood of the first token that differs."""
    alpha: float = 1.0
    """Temperature of the contrast, > 0; of dpo and simpo only. DPO over whole paths commonly takes 0.1, SimPO 2."""
    margin: float = 0.0
    """SimPO's γ, >= 0: by how much the chosen path is to lead; of simpo only."""
    weight: float = 0.1
    """λ >= 0: the weight of the contrast beside the NLL of the chosen path, which keeps weight 1. At 0 the preference
    still picks the path that is learnt, and a study costs half as much."""
    reference: bool = False
    """Compare with the learner as it was before this study; of dpo only."""
    normalise: bool = True
    """Mean log-prob of a path's tokens rather than their sum; only dpo can do without."""
    prefer: Prefer = "verified"
    """Which path is the chosen one: always the teacher's, or the one whose answer is verified as right."""
    unpaired: Unpaired = "nll"
    """What becomes of a sample without a rejected path: learn its chosen path alone, or leave it out."""

    @model_validator(mode="after")
    def _possible(self) -> ContrastiveOptions:
        if not SLIGHTEST <= self.alpha <= STEEPEST:
            raise ValueError(f"alpha is {self.alpha}; expected a number above 0, {SLIGHTEST:g} to {STEEPEST}")
        for name in ("weight", "margin"):
            value = getattr(self, name)
            if not 0 <= value <= STEEPEST:
                raise ValueError(f"{name} is {value}; expected a number of at least 0, {STEEPEST} at most")
        reads = {
            "dpo": {"alpha", "reference", "normalise"},
            "simpo": {"alpha", "margin"},
            "odds_ratio": set(),
            "first_divergence": set(),
        }
        for name in ("alpha", "margin", "reference", "normalise"):
            value, default = getattr(self, name), type(self).model_fields[name].default
            if value != default and name not in reads[self.form]:
                able = ", ".join(form for form, names in reads.items() if name in names)
                raise ValueError(
                    f"{name} is {value} but form {self.form} has no such choice; expected {name} {default}, "
                    f"or a form that has it: {able}"
                )
        return self


def asks(options: ContrastiveOptions) -> Needs:
    """Return what is asked of a learner. Without weight the rejected paths need not be scored."""
    return Needs(student=frozenset({Verb.STUDY}), rejected=options.weight > 0, reference=options.reference)


@OBJECTIVES.register(
    "contrastive",
    options=ContrastiveOptions,
    paper="arXiv 2602.18749",
    status="our reading",
    needs=asks,
)
class Contrastive(Objective):
    """Negative log-likelihood of the chosen path plus a contrast with the rejected one."""

    options: ContrastiveOptions

    def lesson(self, sample: Sample, chosen: Path, other: Path) -> Lesson | None:
        """See Objective.lesson: which path is chosen and which rejected is as its options prefer."""
        return make_lesson(sample, chosen, other, self.options.prefer, self.options.unpaired)

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective. Pairs count by their lesson's weight; rows without a pair give their NLL alone."""
        loss = nll(scored)
        if scored.pairs is None:
            return loss
        pairs = self._pairs(scored, scored.pairs) * scored.weights[scored.pairs.rows]
        return loss + self.options.weight * pairs.sum() / (scored.batch_pairs or 1.0)

    def _pairs(self, scored: Scored, pairs: Pairs) -> Tensor:
        """Return the contrast of each pair, [m] nats."""
        if self.options.form == "first_divergence":
            return unlikelihood(pairs.log_probs.gather(1, pairs.diverges[:, None])[:, 0])
        chosen, rejected = scored.log_probs[pairs.rows].sum(1), pairs.log_probs.sum(1)
        if self.options.reference:
            chosen, rejected = chosen - pairs.reference_chosen, rejected - pairs.reference_rejected
        if self.options.normalise:
            chosen = chosen / scored.mask[pairs.rows].sum(1).clamp(min=1)
            rejected = rejected / pairs.mask.sum(1).clamp(min=1)
        match self.options.form:
            case "dpo":
                return dpo(chosen, rejected, self.options.alpha)
            case "simpo":
                return simpo(chosen, rejected, self.options.alpha, self.options.margin)
            case "odds_ratio":
                return odds_ratio(chosen, rejected)
