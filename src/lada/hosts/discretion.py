"""What a client takes out of its knowledge before it leaves: personal data from texts, exactness from losses."""

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import regex
from pydantic import field_validator, model_validator

from lada.codecs.likelihoods import LEAST
from lada.core.bounds import Blurring
from lada.core.registry import Options
from lada.core.results import PartyReport
from lada.core.seeds import generator
from lada.core.terms import Likelihood, Path
from lada.hosts.pii import FORMS, Kind
from lada.hosts.pii import redact as redact_kind

PATIENCE = 1.0
"""Seconds that a pattern may take for one text."""


class Rule(Options):
    """One of the user's own patterns, in the syntax of the package `regex`, which is that of Python's `re` and more."""

    pattern: str
    """What is to be found."""
    by: str = "[REDACTED]"
    """What takes the place of a match; `\\1` is its first group."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            found = regex.compile(pattern)
        except regex.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        if found.fullmatch(""):
            raise ValueError(f"{pattern!r} matches the empty text; expected a pattern of at least one character")
        return pattern


class Redaction(Options):
    """What is taken out of the texts that leave."""

    pii: tuple[Kind, ...] = ()
    """Personal data by kind, such as email or iban."""
    rules: tuple[Rule, ...] = ()
    """Applied before `pii`, in this order."""

    def apply(self, text: str) -> str | None:
        """Return the text as it may leave; None where a pattern took longer than a second, so that it must not."""
        try:
            for rule in self.rules:
                text = regex.sub(rule.pattern, rule.by, text, timeout=PATIENCE)
            for kind in FORMS:
                if kind in self.pii:
                    text = redact_kind(kind, text, PATIENCE)
        except TimeoutError:
            return None
        return text


class Blur(Options):
    """What is taken from the exactness of the losses that leave, in nats per token."""

    round_to: Blurring = 0.0
    """Losses are rounded to multiples of this, 10 at most, after the noise; 0: not."""
    noise: Blurring = 0.0
    """Scale of the noise, 10 at most: the standard deviation of `gaussian`, b of `laplace`."""
    law: Literal["laplace", "gaussian"] = "laplace"
    """What the noise is drawn from."""
    seeded: bool = False
    """Draw the noise from the run's seed, so that runs repeat; whoever knows the seed can then take it away."""

    @model_validator(mode="after")
    def _does_something(self) -> "Blur":
        if not self.round_to and not self.noise:
            raise ValueError("neither round_to nor noise is set; expected one above 0, or no blur")
        return self

    def means(self, log_probs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return mean log-probs per token, nats, blurred and still in LEAST..0."""
        draw = rng.laplace if self.law == "laplace" else rng.normal
        blurred = log_probs + draw(0.0, self.noise, log_probs.shape) if self.noise else log_probs
        return np.clip(np.round(blurred / self.round_to) * self.round_to if self.round_to else blurred, LEAST, 0.0)

    def generator(self, *address: str | int) -> np.random.Generator:
        """Return what noise is drawn from: nobody can tell it unless it is `seeded`."""
        return generator(*address) if self.seeded else np.random.default_rng(secrets.randbits(256))


@dataclass(frozen=True, slots=True)
class Redacted:
    """Paths as they may leave. Of the rest: how many had to be changed, in their answers too, or held back."""

    paths: tuple[Path, ...]
    changed: frozenset[str]
    """Ids of the samples whose text was changed."""
    answers: int
    withheld: int


Judge = Callable[[Sequence[tuple[str, str]]], Sequence[Likelihood]]
Verify = Callable[[str, str], tuple[str | None, bool | None]]


def redact(redaction: Redaction, paths: Sequence[Path], judge: Judge, verify: Verify) -> Redacted:
    """Return paths without what must not leave.

    `judge` scores (sample id, text) pairs and `verify` gives answer and verdict of a text for a sample id: a path that
    was changed travels with the answer, the verdict and the likelihood of the text that travels, so that what was in
    an answer does not leave beside it.
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
    """Return paths with blurred likelihoods: mean per token and least log-prob each get noise of their own.

    The least is then brought back between the sum and the mean, where that of any text lies.
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
    """Return a report whose studies' losses are blurred; those of a client are on its private data too."""

    def blurred(loss: float) -> float:
        return -float(options.means(np.array([-loss]), rng)[0]) if math.isfinite(loss) else loss

    studies = tuple(
        study.model_copy(update={"first_loss": blurred(study.first_loss), "last_loss": blurred(study.last_loss)})
        for study in report.studies
    )
    return report.model_copy(update={"studies": studies})
