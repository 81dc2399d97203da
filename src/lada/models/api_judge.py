"""Judges given texts behind an API that scores prompts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lada.alignment import token_bytes
from lada.core.errors import InputError
from lada.core.terms import Likelihood, TokenizedText, TokenScores, Vocabulary
from lada.models.api_client import FAILED, ApiClient
from lada.models.api_faults import Lost
from lada.models.api_options import ApiOptions
from lada.models.api_reply import Reply, Usage
from lada.models.api_scores import Scored, likeliest
from lada.models.encoding import Encoded, Encoder
from lada.models.load import load_tokenizer
from lada.models.tokenizing import tokenize_text

OnScored = Callable[[int, Scored | Lost], None]
TRIED = 16
"""How many tokens of an answer are used to test whether a server scores correctly."""
TOLERANCE = 0.15
"""Nats per token by which its scores may differ from its log-probs at generation, due to other kernels or batches.
Scores that belong to the neighbouring token, as in llama-cpp-python 0.3.36, differ more if a sampled answer has
surprising tokens."""
ENDLESS = 2**31
"""The context, tokens; in fact unknown, since the server itself refuses texts that are too long."""


class ApiJudge:
    """Scores texts with the model's tokenizer or, without it, as far as the server's own tokens can be traced."""

    def __init__(self, options: ApiOptions, client: ApiClient) -> None:
        """Raise InputError if the tokenizer cannot be loaded, or lacks a chat template that is needed."""
        self._options, self._client = options, client
        self._encoder = None if options.tokenizer is None else make_encoder(options, options.tokenizer)
        self._vocabulary: Vocabulary | None = None
        self._tried = False
        self._scores = False
        """Whether the server has scored a text."""
        self.notices: tuple[str, ...] = ()

    def judge(self, pairs: Sequence[tuple[str, str]], on_reply: OnScored) -> list[Likelihood]:
        """Return likelihoods of (question, path) pairs; NaN and no tokens if the server cannot score one.

        With a tokenizer, end-of-sequence counts as part of the path. Raises InputError if the server does not score
        prompts, or scores them incorrectly.
        """
        return [
            _likelihood(log_probs, len(text.encode()))
            for log_probs, (_, text) in zip(self._own(pairs, on_reply), pairs, strict=True)
        ]

    def _own(self, pairs: Sequence[tuple[str, str]], on_reply: OnScored) -> list[list[float] | None]:
        self._try_out(pairs)
        if self._encoder is None:
            before = [self._options.prompt.replace("{question}", question) for question, _ in pairs]
            asked = [prompt + text for prompt, (_, text) in zip(before, pairs, strict=True)]
            replies = self._ask(asked, 1, on_reply)
            return [
                None if isinstance(reply, Lost) else reply.of_text(prompt, text)
                for reply, prompt, (_, text) in zip(replies, before, pairs, strict=True)
            ]
        return [
            None if scores is None else [each[own] for each, own in zip(scores, row.completion, strict=True)]
            for scores, row in self._by_token(self._encoder, pairs, 1, on_reply)
        ]

    def _by_token(
        self, encoder: Encoder, pairs: Sequence[tuple[str, str]], k: int, on_reply: OnScored
    ) -> list[tuple[list[Mapping[int, float]] | None, Encoded]]:
        """Return for each pair the log-probs at each token of the path, and the pair as tokens."""
        rows = [encoder.pair(question, text) for question, text in pairs]
        replies = self._ask([[*row.prompt, *row.completion] for row in rows], k, on_reply)
        return [
            (None if isinstance(reply, Lost) else reply.of_tokens(row.prompt, row.completion), row)
            for reply, row in zip(replies, rows, strict=True)
        ]

    def log_probs(self, pairs: Sequence[tuple[str, str]], k: int, on_reply: OnScored) -> list[TokenScores | None]:
        """Return the scores of (question, path) pairs, with at most `top_log_probs` tokens per position.

        None for a pair that the server cannot score. Raises InputError as `judge` does.
        """
        assert self._encoder is not None
        k, size = min(k, self._options.top_log_probs), len(self.vocabulary().tokens)
        self._try_out(pairs)
        tokenized = self.tokenize([text for _, text in pairs])
        result: list[TokenScores | None] = []
        for (found, _), text in zip(self._by_token(self._encoder, pairs, k, on_reply), tokenized, strict=True):
            top = None if found is None or text is None else likeliest(found, text.tokens, k, size)
            result.append(None if top is None or text is None else TokenScores(text.tokens, text.offsets, top))
        return result

    def _try_out(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Raise InputError if the server's score of its own answer differs from its log-probs at generation.

        If they cannot be compared, for example without log-probs at generation, a notice says so.
        """
        if self._tried or not pairs:
            return
        self._tried = True
        options = self._options
        prompt = options.prompt.replace("{question}", pairs[0][0])
        how = {"max_tokens": TRIED, "temperature": 1.0, "seed": 0, "logprobs": 1}
        body = {**options.extra_body, "model": options.model, "prompt": prompt, **how}
        (reply,) = self._client.ask(Reply, "completions", [body], _nobody, trial=True)
        written = () if isinstance(reply, Lost) else reply.log_probs or ()
        found = None
        if isinstance(reply, Reply) and reply.text and written and None not in written:
            (scored,) = self._ask([prompt + reply.text], 1, _nobody, trial=True)
            found = None if isinstance(scored, Lost) else scored.of_text(prompt, reply.text)
        if found is None or len(found) != len(written):
            self.notices += (
                "it could not be tested whether the server scores texts correctly; its scores are trusted",
            )
            return
        gap = float(np.abs(np.array(found) - np.array(written)).mean())
        if gap > TOLERANCE:
            raise InputError(
                f"model.api.scores: {options.base_url} scores an answer of model {options.model!r} {gap:.1f} nats per "
                "token away from its log-probs at generation, so its scores are wrong; expected another server or "
                f"another way than {options.scores!r}, or null with methods that need no judging teacher"
            )

    def vocabulary(self) -> Vocabulary:
        """See Learner.vocabulary."""
        assert self._encoder is not None
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(tuple(token_bytes(self._encoder.tokenizer)), self._encoder.eos)
        return self._vocabulary

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText | None]:
        """See Learner.spell."""
        assert self._encoder is not None
        return [tokenize_text(self._encoder, self.vocabulary(), text) for text in texts]

    def _ask(
        self, prompts: Sequence[str | list[int]], k: int, on_reply: OnScored, *, trial: bool = False
    ) -> list[Scored | Lost]:
        options = self._options
        how: dict[str, Any] = (
            {"prompt_logprobs": k} if options.scores == "prompt_logprobs" else {"echo": True, "logprobs": k}
        )

        unscored = 0

        def check(done: int, reply: Scored | Lost) -> None:
            nonlocal unscored
            if isinstance(reply, Scored):
                self._scores |= bool(reply.log_probs)
                unscored += 1
            # If a single text is not scored, the text itself may be the reason.
            if not self._scores and not trial and unscored >= min(FAILED, len(set(map(str, prompts)))):
                raise InputError(
                    f"model.api.scores: {options.base_url} does not score prompts by {options.scores} for model "
                    f"{options.model!r}; expected the other way, or null with methods that need no judging teacher"
                )
            on_reply(done, reply)

        # Servers write at least one token, although none is needed.
        bodies: list[dict[str, Any]] = [
            {**options.extra_body, "model": options.model, "prompt": prompt, "max_tokens": 1, "temperature": 0.0, **how}
            for prompt in prompts
        ]
        return self._client.ask(Scored, "completions", bodies, check, trial=trial)


def make_encoder(options: ApiOptions, tokenizer: str) -> Encoder:
    """Return the encoder that turns questions and paths into tokens of the model behind an API.

    Raises InputError if the tokenizer cannot be loaded, or has no chat template for style `chat`.
    """
    loaded = load_tokenizer(tokenizer)
    if options.style == "completions":
        loaded.chat_template = None  # questions are asked, and so scored, as plain texts
    elif not loaded.chat_template:
        raise InputError(
            f"model.api.tokenizer: {tokenizer!r} has no chat template, which style 'chat' needs; expected one "
            "that has, or style: completions"
        )
    return Encoder(loaded, prompt=options.prompt, context=ENDLESS, system=options.system)


def _nobody(done: int, reply: Usage | Lost) -> None:
    """Ignore a reply."""


def _likelihood(log_probs: Sequence[float] | None, size: int) -> Likelihood:
    if log_probs is None:
        return Likelihood(np.nan, np.nan, 0, size)
    return Likelihood(sum(log_probs), min(log_probs), len(log_probs), size)
