"""From questions to written texts, by the backend that `model.generation` names.

A *stream* is one text in the making. A backend continues streams and yields their ids as they are done; what is a text,
and where it ends, is the same for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lada.core.terms import Likelihood
from lada.models.encoding import Company, Encoded, Encoder
from lada.models.halving import Halving
from lada.models.options import Generation

SLACK = 8
"""Tokens that are looked at beyond the length of a stop text, which may begin within one or after a special one."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A question's prompt, to be continued by at most `max_new_tokens`; `address` seeds what is drawn for it."""

    prompt: tuple[int, ...]
    max_new_tokens: int
    address: tuple[int, ...]
    question: str = ""


NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Continuation:
    """The ids that were written for one stream, with log-probs that the model gave on the way, as far as known.

    They are natural, float32, and of the model as it is: before temperature and whatever else bends what is drawn.
    """

    ids: list[int]
    log_probs: np.ndarray = field(default_factory=lambda: NOTHING)
    """Of each id, or of none."""
    closing: np.ndarray = field(default_factory=lambda: NOTHING)
    """Of `Encoder.eos` in the place of each id, and in the place behind the last where nothing has ended them."""

    def likelihood(self, prompt: Sequence[int], row: Encoded, eos: int) -> Likelihood | None:
        """Return how likely the completion of `row` is, as of a text of no size; None where this does not tell.

        It tells where `row` is `prompt` with the first of these ids behind it, closed by `eos`, whatever was written in
        that place: the text of an answer may be tokenized in another way than it was written.
        """
        given, written = (*row.prompt, *row.completion), (*prompt, *self.ids)
        start, end = len(row.prompt) - len(prompt), len(given) - len(prompt)
        if written[: len(given)] == given:
            values = self.log_probs
        elif given[-1] == eos and written[: len(given) - 1] == given[:-1]:
            values = np.append(self.log_probs[: end - 1], self.closing[end - 1 : end])
        else:
            return None
        if not 0 <= start < end <= len(values):
            return None
        values = values[start:end]
        return Likelihood(float(values.sum(dtype=np.float64)), float(values.min()), end - start, 0)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How streams are continued; greedily at temperature 0. At most `batch_size` are in the making at once."""

    encoder: Encoder
    batch_size: int
    temperature: float
    generation: Generation
    halving: Halving = field(default_factory=Halving)
    company: Company = "any"

    def most(self, stream: GenerationRequest) -> int:
        """Return how many tokens are chosen for a stream that nothing ends: one more than it has room for.

        That one is dropped; in its place the model says how likely the end of the text is. No stream that fills the
        context has one, since its text is judged without an end.
        """
        return stream.max_new_tokens + (len(stream.prompt) + stream.max_new_tokens < self.encoder.context)

    def over(self, written: Sequence[int], stream: GenerationRequest) -> bool:
        """Return whether a stream is done, for which these tokens are chosen, at least one."""
        return written[-1] in self.encoder.ends or len(written) >= self.most(stream) or self._stopped(written)

    def _stopped(self, written: Sequence[int]) -> bool:
        """Return whether the last ids hold a stop text; those before them were asked about as they came."""
        if not (self.generation.stop or self.encoder.stop):
            return False
        stop = (*self.generation.stop, *self.encoder.stop)
        # A token that is text stands for at least a byte of it.
        tail = list(written[-(max(len(text.encode()) for text in stop) + SLACK) :])
        text = self.encoder.tokenizer.decode(tail, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return any(each in text for each in stop)


def make_requests(
    encoder: Encoder, questions: Sequence[str], paths: int, seed: int, most: int
) -> list[GenerationRequest]:
    """Return `paths` streams per question, question by question, each with room for `most` tokens or its context."""
    streams = []
    for number, question in enumerate(questions):
        prompt = encoder.prompt(question)
        max_new_tokens = max(1, min(most, encoder.context - len(prompt)))
        streams += [GenerationRequest(prompt, max_new_tokens, (seed, number, path), question) for path in range(paths)]
    return streams
