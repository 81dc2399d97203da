"""Ranges of options: what lies beyond is a slip that would cost hours, and is refused before anything starts."""

from typing import Annotated

from pydantic import Field

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
BatchSize = Annotated[int, Field(ge=1, le=65_536)]
AnswerTokens = Annotated[int, Field(ge=1, le=65_536)]
Seconds = Annotated[float, Field(gt=0, le=366 * 24 * 3600, allow_inf_nan=False)]
"""A time-out: a year at most, which every clock of Python takes."""
Samples = Annotated[int, Field(ge=1, le=10_000_000)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
"""A scale: finite, and so that its square is too."""
STEEPEST = 1000
"""The largest temperature of probabilities, and weight of a part of a loss."""
MOST_K = 2**16
"""Tokens of a position that a party names with their log-probs."""
