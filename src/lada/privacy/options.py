"""What a client keeps back of what it sends, as its configuration says."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from lada.core.bounds import Blurring
from lada.core.registry import Options
from lada.core.seeds import generator

if TYPE_CHECKING:
    import numpy as np

PiiKind = Literal["url", "email", "iban", "credit_card", "ip", "date", "phone"]
"""Of personal data that has a form of its own; see lada.privacy.pii."""
PATIENCE = 1.0
"""Seconds that a pattern may take for one text."""
MOST_TRIES = 16
"""Most paths that are sampled in the place of one."""


class Rule(Options):
    """One of the user's own patterns, in the syntax of the package `regex`, which is that of Python's `re` and more."""

    pattern: str
    """What is to be found."""
    by: str = "[REDACTED]"
    """What takes the place of a match; `\\1` is its first group."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        import regex  # here, since most configurations have no rule

        try:
            found = regex.compile(pattern)
        except regex.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        if found.fullmatch(""):
            raise ValueError(f"{pattern!r} matches the empty text; expected a pattern of at least one character")
        return pattern


class Redaction(Options):
    """What is taken out of the texts that leave."""

    pii: tuple[PiiKind, ...] = ()
    """Personal data by kind, such as email or iban."""
    rules: tuple[Rule, ...] = ()
    """Applied before `pii`, in this order."""

    def apply(self, text: str) -> str | None:
        """Return the text as it may leave; None where a pattern took longer than a second, so that it must not."""
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
    def _does_something(self) -> Blur:
        if not self.round_to and not self.noise:
            raise ValueError("neither round_to nor noise is set; expected one above 0, or no blur")
        return self

    def means(self, log_probs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return mean log-probs per token, nats, blurred and still in LEAST..0."""
        import numpy as np

        from lada.codecs.likelihoods import LEAST

        draw = rng.laplace if self.law == "laplace" else rng.normal
        blurred = log_probs + draw(0.0, self.noise, log_probs.shape) if self.noise else log_probs
        return np.clip(np.round(blurred / self.round_to) * self.round_to if self.round_to else blurred, LEAST, 0.0)

    def generator(self, *address: str | int) -> np.random.Generator:
        """Return what noise is drawn from: nobody can tell it unless it is `seeded`."""
        import numpy as np

        return generator(*address) if self.seeded else np.random.default_rng(secrets.randbits(256))


class Withholding(Options):
    """What a client keeps back of what its model writes: distinctive passages of its private samples."""

    words: int = Field(default=8, ge=2, le=1000)
    """Words in a row that are a passage, whatever they are; where private samples share as much by their pattern, up to
    four times as many. Fewer are one where words are rare: see docs/privacy.md."""
    samples: int = Field(default=2, ge=1, le=1000)
    """Private samples that may share a passage before it counts as a common phrase."""
    tries: int = Field(default=4, ge=0, le=MOST_TRIES)
    """Paths that are sampled in the place of one with such a passage; where all have one, none leaves."""
