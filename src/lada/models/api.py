"""A learner behind an OpenAI-compatible API. It answers; it cannot judge another's text, embed, or study."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, NoReturn

import numpy as np

from lada.alignment.cache import cache_folder
from lada.core.errors import InputError
from lada.core.terms import Lesson, Likelihood, Spelled, TokenScores, Vocabulary
from lada.models.api_cache import Reply
from lada.models.api_client import ApiClient
from lada.models.api_options import ApiOptions
from lada.models.base import Answer, Progress, Study, StudyReport, silent
from lada.models.objective import Objective


class ApiLearner:
    """The `Learner` of lada.models.base whose model is elsewhere."""

    device = "remote"
    scaling = 1.0

    def __init__(self, options: ApiOptions, base: FilePath) -> None:
        """A relative `options.cache` starts at `base`. Raises InputError where the key is missing."""
        self.verbs = options.verbs
        self.name = options.model
        self._options = options
        folder = cache_folder() / "answers" if options.cache is None else base / options.cache
        self._client = ApiClient(options, folder)

    @property
    def spent(self) -> str:
        """Return what this learner's requests took, in words; answers from the cache took nothing."""
        return str(self._client.meter)

    def answer(
        self, questions: Sequence[str], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        """See Learner.answer. Raises InputError or ApiError, see ApiClient.ask.

        Greedy answers do not depend on `seed`, so a question that was answered in an earlier round is not asked again.
        Likelihoods are of the tokens that the server reports, which end-of-sequence is not among; without log-probs
        they are unknown (see Likelihood.unknown).
        """
        found = self.sample(questions, paths=1, seed=seed, temperature=temperature, progress=progress)
        return [answer for (answer,) in found]

    def sample(
        self,
        questions: Sequence[str],
        *,
        paths: int,
        seed: int,
        temperature: float,
        progress: Progress = silent,
    ) -> list[list[Answer]]:
        """See Learner.sample, and answer. Each path is a request with a seed of its own."""
        tokens = 0

        def on_reply(done: int, reply: Reply) -> None:
            nonlocal tokens
            tokens += reply.output_tokens or 0
            progress("answer", done, len(bodies), tokens)

        bodies = [self._body(question, seed + path, temperature) for question in questions for path in range(paths)]
        answers = [Answer(reply.text, self._likelihood(reply)) for reply in self._client.ask(bodies, on_reply)]
        return [answers[start : start + paths] for start in range(0, len(answers), paths)]

    def _body(self, question: str, seed: int, temperature: float) -> dict[str, Any]:
        """Return a request's JSON."""
        options = self._options
        body: dict[str, Any] = {"model": options.model, options.limit_name: options.max_new_tokens}
        prompt = options.prompt.replace("{question}", question)
        if options.style == "chat":
            system = [] if options.system is None else [{"role": "system", "content": options.system}]
            body["messages"] = [*system, {"role": "user", "content": prompt}]
        else:
            body["prompt"] = prompt
        if (heat := temperature or options.temperature) is not None:
            body["temperature"] = heat
        if heat:
            body["seed"] = seed % 2**31  # the widest range that all servers take
        if options.stop:
            body["stop"] = list(options.stop)
        if options.log_probs:
            body["logprobs"] = True if options.style == "chat" else 1
        return body

    def _likelihood(self, reply: Reply) -> Likelihood:
        size = len(reply.text.encode())
        if not self._options.log_probs:
            return Likelihood.unknown(size)
        if reply.log_probs is None:  # an empty answer, of which nobody is sure
            return Likelihood(math.nan, math.nan, 0, size)
        return Likelihood(sum(reply.log_probs), min(reply.log_probs), len(reply.log_probs), size)

    def judge(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> list[Likelihood]:
        """Raise InputError."""
        self._refuse("judge texts")

    def log_probs(
        self, pairs: Sequence[tuple[str, str]], k: int, *, progress: Progress = silent
    ) -> list[TokenScores | None]:
        """Raise InputError."""
        self._refuse("score the tokens of texts")

    def vocabulary(self) -> Vocabulary:
        """Raise InputError."""
        self._refuse("tell its vocabulary")

    def spell(self, texts: Sequence[str]) -> list[Spelled | None]:
        """Raise InputError."""
        self._refuse("tell its tokens")

    def embed(self, questions: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
        """Raise InputError."""
        self._refuse("embed questions")

    def study(
        self,
        lessons: Sequence[Lesson],
        objective: Objective,
        study: Study,
        *,
        seed: int,
        progress: Progress = silent,
    ) -> StudyReport:
        """Raise InputError."""
        self._refuse("study")

    def take_notices(self) -> tuple[str, ...]:
        """Return nothing; what this learner's requests took is told once, at the end (see `spent`)."""
        return ()

    def adapter(self) -> dict[str, np.ndarray]:
        """Raise InputError."""
        self._refuse("give an adapter")

    def load_adapter(self, weights: Mapping[str, np.ndarray]) -> None:
        """Raise InputError."""
        self._refuse("take an adapter")

    def save(self, folder: FilePath) -> None:
        """Write nothing: there are no weights here."""

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(
            f"model.api: {self.name!r} is behind an API and cannot {what}; choose methods that need an answering "
            "teacher only, or a model in Hugging Face format"
        )
