"""The options of a client's configuration for what it withholds when it sends."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from lada.core.bounds import Blurring
from lada.core.registry import Options
from lada.core.seeds import generator

if TYPE_CHECKING:
    import numpy as np

PiiKind = Literal["url", "email", "iban", "credit_card", "ip", "date", "phone"]
"""Kinds of personal data with a recognisable form; see lada.privacy.pii."""
PATIENCE = 1.0
"""Maximum time for a pattern on one text, in seconds."""
MOST_TRIES = 16
"""Maximum number of replacement paths."""


def _compiles(pattern: str) -> str:
    import regex  # here, since most configurations have no pattern

    try:
        found = regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    if found.fullmatch(""):
        raise ValueError(f"{pattern!r} matches the empty text; expected a pattern of at least one character")
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]
"""A pattern in the syntax of the package `regex`, which extends Python's `re`."""


class Rule(Options):
    """One of your own patterns, in the syntax of the package `regex`, which extends Python's `re`."""

    pattern: Pattern
    """The pattern to find."""
    by: str = "[REDACTED]"
    """Replacement for each match; `\\1` is its first group."""


class Redaction(Options):
    """What is removed from outgoing texts."""

    pii: tuple[PiiKind, ...] = ()
    """Kinds of personal data, such as email or iban."""
    rules: tuple[Rule, ...] = ()
    """Your own patterns, applied before `pii`, in this order."""

    def apply(self, text: str) -> str | None:
        """Return the redacted text; None if a pattern took longer than a second, in which case the text must not
        leave."""
        import regex

        from lada.privacy.pii import FORMS, redact

        try:
            for rule in self.rules:
                text = regex.sub(rule.pattern, rule.by, text, timeout=PATIENCE)
            for kind in FORMS:
                if kind in self.pii:
                    text = redact(kind, text, PATIENCE)
        except TimeoutError:
            return None
        return text


class Noisy(Options):
    """Noise that is unpredictable, unless a run has to be repeatable."""

    seeded: bool = False
    """Draw the noise from the run's seed, so that runs can be repeated. Anyone who knows the seed can remove the
    noise."""

    def generator(self, *address: str | int) -> np.random.Generator:
        """Return the noise's generator. It is unpredictable unless the options are `seeded`."""
        import numpy as np

        return generator(*address) if self.seeded else np.random.default_rng(secrets.randbits(256))


class Blur(Noisy):
    """How outgoing losses are made less exact, in nats per token."""

    round_to: Blurring = 0.0
    """Losses are rounded to multiples of this, at most 10, after the noise is added. 0 disables rounding."""
    noise: Blurring = 0.0
    """Scale of the noise, at most 10: the standard deviation of `gaussian`, b of `laplace`."""
    law: Literal["laplace", "gaussian"] = "laplace"
    """The noise's distribution."""

    @model_validator(mode="after")
    def _does_something(self) -> Blur:
        if not self.round_to and not self.noise:
            raise ValueError("neither round_to nor noise is set; expected one above 0, or no blur")
        return self

    def means(self, log_probs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return mean log-probs per token, nats, blurred and clipped to LEAST..0."""
        import numpy as np

        from lada.codecs.likelihoods import LEAST

        draw = rng.laplace if self.law == "laplace" else rng.normal
        blurred = log_probs + draw(0.0, self.noise, log_probs.shape) if self.noise else log_probs
        return np.clip(np.round(blurred / self.round_to) * self.round_to if self.round_to else blurred, LEAST, 0.0)


class Withholding(Options):
    """What a client withholds from its model's output: distinctive passages of its private samples."""

    words: int = Field(default=8, ge=2, le=1000)
    """Number of consecutive words that make a passage. If private samples share longer patterns, passages are up to
    four times as long. With rare words, fewer are enough: see docs/privacy.md."""
    samples: int = Field(default=2, ge=1, le=1000)
    """Number of private samples that may share a passage before it counts as a common phrase."""
    tries: int = Field(default=4, ge=0, le=MOST_TRIES)
    """Number of paths sampled as replacements for one with such a passage. If all contain one, no path is sent."""
