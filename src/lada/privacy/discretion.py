"""Removes from a client's knowledge, before it leaves, personal data in texts and exactness of losses."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lada.core.results import PartyReport
from lada.core.terms import Likelihood, Path
from lada.privacy.options import Blur, Redaction


@dataclass(frozen=True, slots=True)
class Redacted:
    """Paths as they may leave, and how many were changed, changed in their answers, or withheld."""

    paths: tuple[Path, ...]
    changed: frozenset[str]
    """Ids of the samples whose text was changed."""
    answers: int
    withheld: int


Judge = Callable[[Sequence[tuple[str, str]]], Sequence[Likelihood]]
Verify = Callable[[str, str], tuple[str | None, bool | None]]


def redact(redaction: Redaction, paths: Sequence[Path], judge: Judge, verify: Verify) -> Redacted:
    """Return paths without the parts that must not leave.

    `judge` scores (sample id, text) pairs, and `verify` gives the answer and verdict of a text for a sample id. A
    changed path is sent with the answer, verdict and likelihood of its new text, so the old answer does not leave with
    it.
    """
    kept: list[Path] = []
    changed: set[str] = set()
    for path in paths:
        text = redaction.apply(path.text)
        if text is None:
            continue
        if text != path.text:
            answer, right = verify(path.sample_id, text)
            path = replace(path, text=text, answer=answer, right=right)  # noqa: PLW2901
            changed.add(path.sample_id)
        kept.append(path)
    before = {path.sample_id: path.answer for path in paths}
    todo = [i for i, path in enumerate(kept) if path.sample_id in changed]
    judged = judge([(kept[i].sample_id, kept[i].text) for i in todo]) if todo else ()
    for i, likelihood in zip(todo, judged, strict=True):
        kept[i] = replace(kept[i], likelihood=likelihood)
    answers = sum(kept[i].answer != before[kept[i].sample_id] for i in todo)
    return Redacted(tuple(kept), frozenset(changed), answers, len(paths) - len(kept))


def blur(options: Blur, paths: Sequence[Path], rng: np.random.Generator) -> tuple[Path, ...]:
    """Return paths with blurred likelihoods: the mean per token and the minimum log-prob each get separate noise.

    The minimum is then clamped between the sum and the mean, where the minimum of any text lies.
    """
    known = [path.likelihood for path in paths if path.likelihood.known]
    means = iter(options.means(np.array([each.mean for each in known]), rng).tolist())
    least = iter(options.means(np.array([each.minimum for each in known]), rng).tolist())

    def blurred(likelihood: Likelihood) -> Likelihood:
        if not likelihood.known:
            return likelihood
        mean = next(means)
        total = mean * likelihood.tokens
        return replace(likelihood, total=total, minimum=min(max(next(least), total), mean))

    return tuple(replace(path, likelihood=blurred(path.likelihood)) for path in paths)


def blur_report(options: Blur, report: PartyReport, rng: np.random.Generator) -> PartyReport:
    """Return a report with blurred losses of its studies, since a client also studies its private data."""

    def blurred(loss: float) -> float:
        return -float(options.means(np.array([-loss]), rng)[0]) if math.isfinite(loss) else loss

    studies = tuple(
        study.model_copy(update={"first_loss": blurred(study.first_loss), "last_loss": blurred(study.last_loss)})
        for study in report.studies
    )
    return report.model_copy(update={"studies": studies})
