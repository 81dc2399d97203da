"""Ranges of options. A value outside is a mistake that would cost hours, and is refused before anything starts."""

from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
BatchSize = Annotated[int, Field(ge=1, le=65_536)]
AnswerTokens = Annotated[int, Field(ge=1, le=65_536)]
Seconds = Annotated[float, Field(gt=0, le=366 * 24 * 3600, allow_inf_nan=False)]
"""A time-out of at most a year, which all of Python's clocks support."""
MOST_SAMPLES = 10_000_000
Samples = Annotated[int, Field(ge=1, le=MOST_SAMPLES)]
Rounds = Annotated[int, Field(ge=0, le=100_000)]
Parties = Annotated[int, Field(ge=1, le=1_000_000)]
Bytes = Annotated[int, Field(ge=1, le=2**40)]
"""A limit on what is sent or kept: at most a tebibyte."""
SLIGHTEST = 1e-30
"""The smallest divisor of a logit that keeps it within 32 bits."""
Positive = Annotated[float, Field(ge=SLIGHTEST, le=1e12, allow_inf_nan=False)]
"""A scale that is finite, as are its square and its inverse."""
LARGEST_SEED = 2**63 - 1


def _is_seed(seed: int) -> int:
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"{seed} is not a valid seed; expected 0 to 2**63 - 1, which is {LARGEST_SEED}")
    return seed


Seed = Annotated[
    int, AfterValidator(_is_seed), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": LARGEST_SEED})
]
"""The start of random draws."""


def _is_blur(nats: float) -> float:
    if nats and not 1e-6 <= nats <= 10:
        raise ValueError(f"{nats} is out of range; expected 0 for none, or 0.000001 to 10 nats per token")
    return nats


Blurring = Annotated[float, AfterValidator(_is_blur)]
"""The size of a loss's blur in nats per token: neither so small that it has no effect, nor as large as a guess
costs."""
STEEPEST = 1000
"""Maximum temperature of probabilities, and maximum weight of a part of a loss."""


def _is_temperature(given: float) -> float:
    if given and not SLIGHTEST <= given <= STEEPEST:
        raise ValueError(f"{given} is not a valid temperature; expected 0, or {SLIGHTEST:g} to {STEEPEST}")
    return given


Temperature = Annotated[float, AfterValidator(_is_temperature)]
"""Sampling temperature; 0 is greedy."""
MOST_K = 2**16
"""Maximum number of tokens per position that a party sends with their log-probs."""
