"""Turns questions into generated texts, with the backend that `model.generation` names.

A *stream* is one text that is being generated. A backend continues streams and yields their ids when they are done. All
backends share the rules for what is text and where it ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lada.core.terms import Likelihood
from lada.models.encoding import Company, Encoded, Encoder
from lada.models.halving import Halving
from lada.models.options import Generation

SLACK = 8
"""How many tokens beyond the length of a stop text are searched, since it may begin within a token or after a special
one."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A question's prompt, to be continued by at most `max_new_tokens`; `address` seeds its random draws.

    `begun` are the ids at the end of the prompt that already belong to the path.
    """

    prompt: tuple[int, ...]
    max_new_tokens: int
    address: tuple[int, ...]
    question: str = ""
    begun: tuple[int, ...] = ()


NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Continuation:
    """The ids written for one stream, with the log-probs from generation, as far as known.

    They are natural, float32 and unmodified: before temperature and other changes of the sampling distribution.
    """

    ids: list[int]
    log_probs: np.ndarray = field(default_factory=lambda: NOTHING)
    """The log-prob of each id, or none at all."""
    closing: np.ndarray = field(default_factory=lambda: NOTHING)
    """The log-prob of `Encoder.eos` at the place of each id and, if nothing has ended them, at the place after the
    last."""

    def likelihood(self, prompt: Sequence[int], row: Encoded, eos: int) -> Likelihood | None:
        """Return the likelihood of the completion of `row`, with text size 0; None if it does not follow from these
        log-probs.

        It follows if `row` is `prompt`, then the first of these ids, then `eos`, whatever was written at that place.
        Otherwise the text of an answer was tokenized differently from how it was written.
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
    """How streams are continued; greedily at temperature 0. At most `batch_size` streams are active at once."""

    encoder: Encoder
    batch_size: int
    temperature: float
    generation: Generation
    halving: Halving = field(default_factory=Halving)
    company: Company = "any"

    def most(self, stream: GenerationRequest) -> int:
        """Return how many tokens are chosen for a stream that does not end: one more than it has room for.

        The extra token is dropped; at its place the model gives the likelihood of the end of the text. A stream that
        fills the context has no such place, since its text is judged without an end.
        """
        return stream.max_new_tokens + (len(stream.prompt) + stream.max_new_tokens < self.encoder.context)

    def over(self, written: Sequence[int], stream: GenerationRequest) -> bool:
        """Return whether a stream with these chosen tokens (at least one) is done."""
        return written[-1] in self.encoder.ends or len(written) >= self.most(stream) or self._stopped(written)

    def _stopped(self, written: Sequence[int]) -> bool:
        """Return whether the last ids contain a stop text; earlier ids were checked when they were chosen."""
        if not (self.generation.stop or self.encoder.stop):
            return False
        stop = (*self.generation.stop, *self.encoder.stop)
        # A text token stands for at least one byte.
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


def continuing_requests(
    encoder: Encoder, beginnings: Sequence[tuple[str, str]], seed: int, most: int
) -> list[GenerationRequest]:
    """Return a stream for each pair of a question and the beginning of a path, with room for `most` tokens or its
    context. A beginning that leaves no room is cut by a token. Without one, the prompt is that of an answer."""
    streams = []
    for number, (question, beginning) in enumerate(beginnings):
        row = encoder.pair(question, beginning, cut=True)
        begun = row.completion[: encoder.context - len(row.prompt) - 1]
        prompt = (*row.prompt, *begun) if begun else encoder.prompt(question)
        room = min(most, encoder.context - len(prompt))
        streams.append(GenerationRequest(prompt, room, (seed, number, 0), question, begun))
    return streams
