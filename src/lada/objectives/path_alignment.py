"""Path alignment: the student finds the paths of a question as likely, relative to each other, as its teacher does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from lada.core.bounds import SLIGHTEST, STEEPEST, Share
from lada.core.needs import Needs, SignalSpec
from lada.core.registry import Options
from lada.core.terms import Verb
from lada.models.objective import Objective, Scored, nll, others
from lada.objectives.base import OBJECTIVES
from lada.objectives.divergences import UNUSED, forward_kl, tempered
from lada.objectives.preference import Prefer, make_pair

if TYPE_CHECKING:
    from torch import Tensor

    from lada.core.terms import Lesson, Path, Sample


class PathAlignmentOptions(Options):
    """`loss = λ NLL of the learnt paths + (1 - λ) mean over pairs of the alignment`."""

    form: Literal["kl", "margin"] = "kl"
    """What is aligned: the teacher's and the student's distributions over the paths, by KL divergence, or the margins
    between each two paths, by their mean squared difference."""
    paths: int = Field(default=2, ge=2, le=16)
    """Maximum number of paths of a question that are compared: those of both parties, and above 2 the newest of earlier
    rounds."""
    temperature: float = Field(default=1.0, ge=SLIGHTEST, le=STEEPEST, allow_inf_nan=False)
    """τ of the student, above 0; for kl only. Its log-probs per token are divided by it."""
    teacher_temperature: float = Field(default=1.0, ge=SLIGHTEST, le=STEEPEST, allow_inf_nan=False)
    """τ of the teacher, above 0; for kl only. Less than `temperature` makes the target sharper."""
    label_weight: Share = 0.5
    """λ, from 0 to 1. At 0, no path is imitated, and only the pairs teach."""
    prefer: Prefer = "verified"
    """Which path of a pair is learnt by NLL: the allocator's (`role`), or the right one if only one is right
    (`verified`). With `verified`, two wrong paths give no lesson."""

    @model_validator(mode="after")
    def _used(self) -> PathAlignmentOptions:
        for name in ("temperature", "teacher_temperature"):
            if self.form == "margin" and getattr(self, name) != 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but form margin does not use it; expected {name} 1.0, or form kl"
                )
        return self


def asks(options: PathAlignmentOptions) -> Needs:
    """Return what both parties must be able to do. At λ = 1, it is plain fine-tuning."""
    if options.label_weight == 1:
        return Needs(student=frozenset({Verb.STUDY}))
    signal = SignalSpec(1, "offsets", as_chunks=True, texts=("student",))
    more = options.paths - 2
    return Needs(frozenset({Verb.LOG_PROBS}), frozenset({Verb.STUDY}), signal, rejected=True, alternatives=more)


@OBJECTIVES.register(
    "path_alignment",
    options=PathAlignmentOptions,
    paper="arXiv 2602.18749",
    status="our reading",
    needs=asks,
    tags=("labels", "feedback", "self-knowledge", "supervised", "divergence", "ranking"),
)
class PathAlignment(Objective):
    """Alignment of whole-path likelihoods, over the teacher's path, the student's, and earlier ones.

    With the teacher ν, the student π and the paths y_i of a question x, of n_i tokens of the student:

        t_i = log ν(y_i | x) / n_i          s_i = log π(y_i | x) / n_i
        kl       KL(softmax(t / τ_T) ‖ softmax(s / τ_S))
        margin   the mean over pairs i < j of ((s_i - s_j) - (t_i - t_j))²

    LaDa's abstract says that joint probabilities of reasoning paths are aligned; its loss, as reported, is a contrast
    (`contrastive`). This is the abstract taken literally. Both sides are divided by the same number of tokens, so that
    tokenizers need not be the same.
    """

    options: PathAlignmentOptions

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective. A pair contributes its NLL alone if the teacher's likelihoods are unknown."""
        weight, loss = self.options.label_weight, self.options.label_weight * nll(others(scored))
        pairs = scored.pairs
        if pairs is None or weight == 1:
            return loss
        import torch  # here, since reading an objective's options does not need it

        sides = ((scored.log_probs[pairs.rows], scored.mask[pairs.rows]), (pairs.log_probs, pairs.mask))
        sizes = torch.stack([mask.sum(1) for _, mask in sides], 1).clamp(min=1)
        student = torch.stack([log_probs.sum(1) for log_probs, _ in sides], 1) / sizes
        teacher = torch.stack([pairs.teacher_chosen, pairs.teacher_rejected], 1) / sizes
        known = teacher.isfinite().all(1)
        if (more := scored.alternatives) is not None:
            counts = more.mask.sum(1).clamp(min=1)
            place, column = places(pairs.rows, more.rows)
            wider = teacher.new_full((len(teacher), int(column.max()) + 1), torch.nan)
            teacher = torch.cat([teacher, wider.index_put((place, column), (more.teacher / counts).to(wider))], 1)
            student = torch.cat(
                [student, wider.index_put((place, column), (more.log_probs.sum(1) / counts).to(wider))], 1
            )
        each = self.align(teacher[known], student[known]) * scored.weights[pairs.rows][known]
        return loss + (1 - weight) * each.sum() / (scored.batch_pairs or 1.0)

    def align(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the loss [m] of sets of paths, given both sides' log-probs per token [m, paths], nats.

        Paths that the teacher did not score (NaN) are in no set.
        """
        there = teacher.isfinite()
        if self.options.form == "margin":
            off, n = (student - teacher).masked_fill(~there, 0.0), there.sum(1, keepdim=True)
            from_mean = (off - off.sum(1, keepdim=True) / n).masked_fill(~there, 0.0)
            # The mean of (d_i - d_j)² over i < j is twice the variance, with n - 1 in place of n.
            return 2 * from_mean.square().sum(1) / (n[:, 0] - 1)
        target, ours = (side.masked_fill(~there, UNUSED) for side in (teacher, student))
        target = tempered(target, self.options.teacher_temperature)
        return forward_kl(target, tempered(ours, self.options.temperature))

    def lesson(self, sample: Sample, chosen: Path, other: Path) -> Lesson | None:
        """See Objective.lesson: both paths are a pair, right or wrong."""
        return make_pair(sample, chosen, other, self.options.prefer)


def places(pairs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each of the ascending `rows` [a] its place among `pairs` [m], and how many before it are the same."""
    import torch

    place = torch.searchsorted(pairs, rows)
    return place, torch.arange(len(rows), device=rows.device) - torch.searchsorted(rows, rows)
