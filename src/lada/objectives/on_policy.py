"""On-policy distillation: the student writes, the teacher scores what it wrote, and the student learns from that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from lada.core.bounds import Share
from lada.core.needs import Needs, SignalSpec
from lada.core.terms import Verb
from lada.models.objective import Chunks, Objective, Scored, nll, others
from lada.objectives.base import OBJECTIVES
from lada.objectives.divergences import generalised_jsd
from lada.objectives.top_k import TopK, batch_mean, sides

if TYPE_CHECKING:
    from torch import Tensor

    from lada.core.terms import Lesson, Path, Sample

LEAST, MOST = -10.0, 10.0
"""The least log-prob of a chunk that `k3` sees, and the greatest loss or advantage of one, nats: the defaults of
verl."""


class OnPolicyOptions(TopK):
    """`loss = λ NLL of other texts + (1 - λ) judged loss of the student's own texts`, over the batch's tokens.

    `k`, `alignment`, `inside` and `shuffled` are for `jsd` alone. `k1` and `k3` need one number for each token of the
    teacher, and compare chunks between boundaries that both tokenizers share.
    """

    estimator: Literal["k1", "k3", "jsd"] = "k1"
    """What is estimated from the student's own text. `k1`: the policy gradient of the reverse KL. `k3`: an estimate of
    the reverse KL that is never negative, back-propagated. `jsd`: a divergence over the teacher's likeliest tokens."""
    beta: Share = 0.5
    """β of `jsd`, from 0 to 1: 0 is the forward KL, 1 the reverse KL."""
    top: Literal["teacher", "student"] = "teacher"
    """Whose likeliest tokens `jsd` compares. Only the teacher's are possible between parties."""
    clip: float | None = Field(default=0.2, gt=0, le=1)
    """ε of `k1`, above 0 and at most 1: the ratio of a chunk's probability to that at the start of the study counts
    from 1 - ε to 1 + ε. None is no limit."""
    label_weight: Share = 0.5
    """λ, from 0 to 1. At 0, the student studies its own texts alone; the teacher's texts are left out, and what it
    replays has no effect."""

    @model_validator(mode="after")
    def _named(self) -> OnPolicyOptions:
        if self.top == "student":
            raise ValueError(
                "top is 'student', but a teacher of another party does not know which tokens the student finds "
                "likeliest: these, and their vocabulary, would have to be sent with each text, and a teacher with "
                "another tokenizer could not score them. Expected 'teacher', or estimator 'k3', which estimates the "
                "reverse KL from the student's own tokens"
            )
        if self.estimator == "jsd" and self.k < 2:
            raise ValueError(f"k is {self.k}; expected at least 2 tokens with estimator 'jsd', or estimator 'k1'")
        return self


def asks(options: OnPolicyOptions) -> Needs:
    """Return what both parties must be able to do."""
    if options.estimator == "jsd":
        signal = SignalSpec(options.k, options.alignment, options.inside, shuffled=options.shuffled, texts=("student",))
    else:
        signal = SignalSpec(1, "offsets", as_chunks=True, texts=("student",))
    learner, old = frozenset({Verb.STUDY}), options.estimator == "k1"
    return Needs(frozenset({Verb.LOG_PROBS}), learner, signal, own_lessons=True, old=old)


@OBJECTIVES.register(
    "on_policy",
    options=OnPolicyOptions,
    paper="arXiv 2306.13649",
    status="our reading",
    needs=asks,
    tags=("feedback", "self-knowledge", "divergence", "ranking"),
)
class OnPolicy(Objective):
    """A divergence from the teacher on texts that the student wrote.

    With ν the teacher, π the student, π_0 the student before the study and c a chunk of its text:

        k1     -min(ρ r, clip(ρ, 1 - ε, 1 + ε) r)    r = log ν(c) - log π_0(c),  ρ = π(c) / π_0(c)
        k3     e^r - 1 - r                            r = log ν(c) - log π(c)
        jsd    β KL(ν ‖ m) + (1 - β) KL(π ‖ m)        m = β ν + (1 - β) π

    The gradient of k1 flows through ρ alone, since that of r itself has no teacher in it. A chunk is one action: where
    both tokenizers cut alike it is a token, and else its tokens share its advantage r. Rewards are not passed on to
    earlier chunks. `jsd` is GKD's, over the tokens that the teacher names and the tail; k1 and k3 are after Schulman's
    "Approximating KL divergence" and the code of tinker-cookbook and verl, whose bounds k3 has.
    """

    options: OnPolicyOptions

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        labels = self.options.label_weight * nll(others(scored))
        return labels + (1 - self.options.label_weight) * self._judged(scored)

    def _judged(self, scored: Scored) -> Tensor | float:
        """Return the loss of the student's own texts, over the batch's tokens."""
        if scored.soft is not None:
            teacher, student = sides(scored.soft)
            return batch_mean(scored, scored.soft, generalised_jsd(teacher, student, self.options.beta))
        if scored.chunks is not None:
            each = k3(scored.chunks) if self.options.estimator == "k3" else k1(scored.chunks, self.options.clip)
            return batch_mean(scored, scored.chunks, each)
        return 0.0

    def lesson(self, sample: Sample, chosen: Path, other: Path) -> Lesson | None:
        """See Objective.lesson. Without a weight on labels, other texts are no lessons."""
        return super().lesson(sample, chosen, other) if self.options.label_weight else None


def k1(chunks: Chunks, clip: float | None) -> Tensor:
    """Return the clipped surrogate of the policy gradient [c], as in PPO (arXiv 1707.06347).

    Advantages are bounded, so that one absurd score of a teacher cannot outweigh a batch.
    """
    assert chunks.old is not None  # since Needs.old is declared
    advantage = (chunks.teacher - chunks.old).clamp(-MOST, MOST)
    ratio = (chunks.student - chunks.old).exp()
    if clip is None:
        return -ratio * advantage
    return -(ratio * advantage).minimum(ratio.clamp(1 - clip, 1 + clip) * advantage)


def k3(chunks: Chunks) -> Tensor:
    """Return e^r - 1 - r of r = log ν - log π [c], nats, within bounds; its mean under π is KL(π ‖ ν)."""
    r = chunks.teacher.clamp(min=LEAST) - chunks.student.clamp(min=LEAST)
    return (r.expm1() - r).clamp(max=MOST)
