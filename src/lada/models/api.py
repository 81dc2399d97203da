"""A learner behind an OpenAI-compatible API. It answers and, if the server scores texts, judges. It cannot learn."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from lada.core.cache import cache_folder
from lada.core.errors import InputError
from lada.core.plural import plural
from lada.core.terms import Lesson, Likelihood, TokenizedText, TokenScores, Verb, Vocabulary
from lada.models.api_client import ApiClient
from lada.models.api_faults import Lost
from lada.models.api_options import ApiOptions
from lada.models.api_reply import Reply, Usage, alike, log_prob
from lada.models.api_transport import read_secrets
from lada.models.base import Answer, Course, Inside, LearnerBase, Progress, Study, StudyReport, silent
from lada.models.objective import Objective
from lada.models.vllm_server import find_vllm

if TYPE_CHECKING:
    from lada.models.api_judge import ApiJudge
    from lada.models.encoding import Encoder

MUTE = 32
"""How many answers may end before a word is written, if there are no others, before the questions are no longer to
blame."""
UNTRACED = "not scored, since the server says no log-prob of every token, or other tokens than theirs"
PLURALS = {"request": "requests", "answer is": "answers are", "answer comes": "answers come", "text is": "texts are"}
"""The subjects of notices, singular and plural."""


def check_api(options: ApiOptions) -> "Encoder | None":
    """Return the encoder of the tokenizer that the options name; None if they name none.

    Raises InputError if a secret or the tokenizer is missing, or vLLM if it must be started.
    """
    read_secrets(options)
    if options.serve is not None:
        find_vllm()
    if options.tokenizer is None:
        return None
    from lada.models.api_judge import make_encoder  # here, since it imports transformers

    return make_encoder(options, options.tokenizer)


def _judge(options: ApiOptions, client: ApiClient) -> "ApiJudge | None":
    if options.scores is None:
        return None
    from lada.models.api_judge import ApiJudge

    return ApiJudge(options, client)


class ApiLearner(LearnerBase):
    """The `Learner` of lada.models.base whose model is behind an API."""

    device = "remote"

    def __init__(self, options: ApiOptions, base: FilePath) -> None:
        """A relative `options.cache` starts at `base`.

        Raises InputError if a key, or a tokenizer that the options name, is missing.
        """
        self.verbs = options.verbs
        self.name = options.model
        self._options = options
        folder = cache_folder() / "answers" if options.cache is None else base / options.cache
        self._client = ApiClient(options, folder)
        self._judge = _judge(options, self._client)
        self._scored = False
        self._mute: int | None = 0
        """The number of answers that ended before a word was written; None after the first answer with words."""
        self._notices: dict[tuple[str, str], tuple[int, str]] = {}
        """Problems with answers, each with its count and its first case."""

    @property
    def spent(self) -> str:
        """Return this learner's requests and tokens in words. Cached answers cost nothing."""
        return str(self._client.meter)

    def inside(self) -> Inside:
        """See Learner.inside."""
        return Inside("api")

    def answer(
        self, questions: Sequence[str], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        """See Learner.answer. Raises InputError or ApiError, see ApiClient.ask.

        Greedy answers do not depend on `seed`, so a question that was answered in an earlier round is not asked again.
        Likelihoods cover the tokens that the server reports, without end-of-sequence. Without log-probs they are
        unknown (see Likelihood.unknown). A question without an answer gets a refused one, and a notice.
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
        bodies = [self._body(question, seed + path, temperature) for question in questions for path in range(paths)]
        on_reply = self._told("answer", len(bodies), progress)

        def check(done: int, reply: Reply | Lost) -> None:
            if isinstance(reply, Reply):
                self._check_words(reply)
                if not reply.refused:
                    self._check_log_probs(reply)
            on_reply(done, reply)

        found = self._client.ask(Reply, self._options.style, bodies, check)
        answers = [self._answer(reply) for reply in found]
        return [answers[start : start + paths] for start in range(0, len(answers), paths)]

    def _told(self, verb: str, total: int, progress: Progress) -> Any:
        """Return a callback that receives each reply as it arrives and reports their number."""
        tokens = 0

        def on_reply(done: int, reply: Usage | Lost) -> None:
            nonlocal tokens
            if isinstance(reply, Usage):
                tokens += (reply.output_tokens if verb == "answer" else reply.input_tokens) or 0
            else:
                self._count("request", f"to {verb} failed", reply.why)
            progress(verb, done, total, tokens)

        return on_reply

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
            body["seed"] = seed % 2**31  # the widest range that all servers accept
        if options.stop:
            body["stop"] = list(options.stop)
        if options.log_probs:
            body["logprobs"] = True if options.style == "chat" else 1
        if options.reasoning_effort is not None:
            body["reasoning_effort"] = options.reasoning_effort
        return {**body, **options.extra_body}

    def _check_words(self, reply: Reply) -> None:
        """Raise InputError if the first answers all end before a word is written, since each of them costs money."""
        if not reply.refused:
            self._mute = None
        elif reply.cut and self._mute is not None:
            self._mute += 1
            if self._mute == MUTE:
                raise InputError(
                    f"model.api.max_new_tokens: {self._options.max_new_tokens} are spent on reasoning in all of the "
                    f"first {MUTE} answers of model {self._options.model!r}; set more, or a lower reasoning_effort"
                )

    def _check_log_probs(self, reply: Reply) -> None:
        """Raise InputError if log-probs are wanted but the first answer, and so every answer, comes without."""
        if self._options.log_probs and not self._scored and reply.log_probs is None:
            raise InputError(
                f"model.api.log_probs: {self._options.base_url} returns no log-probs for model "
                f"{self._options.model!r}; set log_probs: false and choose methods that need no confidence of a "
                "teacher, such as allocator: verified"
            )
        self._scored = True

    def _answer(self, reply: Reply | Lost) -> Answer:
        """Return a reply as an answer; its problems are counted."""
        if isinstance(reply, Lost):
            return Answer("", self._unsure(""), refused=True)
        if reply.model and not alike(self._options.model, reply.model):
            self._count("answer comes", f"from another model than {self._options.model!r}", repr(reply.model))
        used: dict[str, Any] = {"read": reply.input_tokens or 0, "written": reply.output_tokens or 0}
        if reply.refused:
            self._count("answer is", "none", reply.why)
            return Answer("", self._unsure(""), cut=reply.cut, refused=True, **used)
        if reply.cut:
            self._count("answer is", "not whole", reply.why)
        return Answer(reply.text, self._likelihood(reply), cut=reply.cut, **used)

    def _likelihood(self, reply: Reply) -> Likelihood:
        values = [value for each in reply.log_probs or () if (value := log_prob(each)) is not None]
        if self._options.log_probs and len(values) == len(reply.log_probs or " "):
            return Likelihood(sum(values), min(values), len(values), len(reply.text.encode()))
        if self._options.log_probs:
            self._count("answer comes", "without a log-prob of every token, so their confidence is unknown")
        return self._unsure(reply.text)

    def _unsure(self, text: str) -> Likelihood:
        """Return the likelihood of a text about which nothing is known, although log-probs were requested."""
        size = len(text.encode())
        return Likelihood(math.nan, math.nan, 0, size) if self._options.log_probs else Likelihood.unknown(size)

    def _count(self, subject: str, what: str, first: str = "") -> None:
        """Count a case of a problem with `subject`, one of PLURALS."""
        count, case = self._notices.get((subject, what), (0, first))
        self._notices[subject, what] = (count + 1, case)

    def judge(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> list[Likelihood]:
        """See Learner.judge and ApiJudge.judge. Raises InputError if the server does not score texts."""
        found = self._scorer("judge texts").judge(pairs, self._told("judge", len(pairs), progress))
        for likelihood in found:
            if not likelihood.known:
                self._count("text is", UNTRACED)
        return found

    def log_probs(
        self, pairs: Sequence[tuple[str, str]], k: int, *, progress: Progress = silent
    ) -> list[TokenScores | None]:
        """See Learner.log_probs and ApiJudge.log_probs. Raises InputError if the server does not score tokens."""
        scorer = self._scorer("score the tokens of texts", Verb.LOG_PROBS)
        found = scorer.log_probs(pairs, k, self._told("log_probs", len(pairs), progress))
        for scores in found:
            if scores is None:
                self._count("text is", UNTRACED)
        return found

    def vocabulary(self) -> Vocabulary:
        """See Learner.vocabulary. Raises InputError without a tokenizer."""
        return self._scorer("tell its vocabulary", Verb.LOG_PROBS).vocabulary()

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText | None]:
        """See Learner.spell. Raises InputError without a tokenizer."""
        return self._scorer("tell its tokens", Verb.LOG_PROBS).tokenize(texts)

    def _scorer(self, what: str, verb: Verb = Verb.JUDGE) -> "ApiJudge":
        if self._judge is None or verb not in self.verbs:
            self._refuse(what)
        return self._judge

    def embed(self, questions: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
        """Raise InputError."""
        self._refuse("embed questions")

    def read(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> np.ndarray:
        """Raise InputError."""
        self._refuse("read paths")

    def study(
        self,
        lessons: Sequence[Lesson],
        objective: Objective,
        study: Study,
        *,
        seed: int,
        course: Course = Course(),  # noqa: B008 - it is immutable
        progress: Progress = silent,
    ) -> StudyReport:
        """Raise InputError."""
        self._refuse("study")

    def take_notices(self) -> tuple[str, ...]:
        """Return the problems with answers and scores since the last call, with counts.

        The cost of this learner's requests is reported once, at the end (see `spent`).
        """
        notices, self._notices = self._notices, {}
        told = [
            f"{count:,} {plural(count, subject, PLURALS[subject])} {what}" + (f"; the first: {case}" if case else "")
            for (subject, what), (count, case) in notices.items()
        ]
        if self._judge is not None:
            told += self._judge.notices
            self._judge.notices = ()
        told += self._client.take_notices()
        return tuple(told)

    def adapter(self) -> dict[str, np.ndarray]:
        """Raise InputError."""
        self._refuse("give an adapter")

    def load_adapter(self, weights: Mapping[str, np.ndarray]) -> None:
        """Raise InputError."""
        self._refuse("take an adapter")

    def save(self, folder: FilePath) -> None:
        """Write nothing: there are no weights here."""

    def close(self) -> None:
        """End a server that was started for this learner; the next question would start another."""
        self._client.close()

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(
            f"model.api: {self.name!r} is behind an API and cannot {what}; choose methods that need an answering "
            "teacher only, or a model in Hugging Face format"
        )
