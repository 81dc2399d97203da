"""Measures the lengths of a party's prompts and paths, in its own tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lada.core.plural import counted
from lada.core.terms import Sample

if TYPE_CHECKING:
    from lada.models.encoding import Encoder

BYTES_PER_TOKEN = 4
"""Approximate bytes per token of English text, if no tokenizer is available: our assumption."""
UNKNOWN_PROMPT = 256
"""The longest question of unavailable data, tokens: our assumption."""
LONGEST, TYPICAL = 20, 200
"""How many samples are encoded for the maximum and for the mean."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """The longest prompt, the longest path and the average path, tokens; and their source."""

    prompt: int
    completion: int
    mean: float
    source: str


def measure(samples: Sequence[Sample] | None, encoder: "Encoder | None", most: int) -> Lengths:
    """Return the lengths of a party that writes at most `most` tokens and sees `samples` (None: not available).

    Paths are assumed to be like the gold ones, if there are any. Without an encoder, tokens are estimated from bytes.
    """
    if samples is None:
        return Lengths(
            UNKNOWN_PROMPT,
            most,
            float(most),
            f"assumed: prompts of {UNKNOWN_PROMPT}, paths of {counted(most, 'token')}",
        )
    prompt, path = _counters(encoder)
    questions = [sample.question for sample in samples]
    golds = [f"{sample.rationale or ''} {sample.answer}".strip() for sample in samples if sample.answer is not None]
    explained = any(sample.rationale for sample in samples)
    return Lengths(
        prompt=max(map(prompt, _longest(questions)), default=1),
        completion=max([most, *map(path, _longest(golds))]),
        mean=min(float(most), _mean([path(text) for text in golds[:TYPICAL]])) if explained else float(most),
        source=("counted" if encoder else f"{BYTES_PER_TOKEN} bytes a token")
        + ("" if explained else f"; without rationales paths are taken to be {counted(most, 'token')} long"),
    )


def _counters(encoder: "Encoder | None") -> tuple[Callable[[str], int], Callable[[str], int]]:
    if encoder is None:
        return _by_bytes, _by_bytes
    return lambda question: len(encoder.prompt(question)), lambda text: len(encoder.completion(text))


def _by_bytes(text: str) -> int:
    return len(text.encode()) // BYTES_PER_TOKEN + 1


def _longest(texts: Sequence[str]) -> list[str]:
    return sorted(texts, key=len, reverse=True)[:LONGEST]


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)
