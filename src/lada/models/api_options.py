"""Which LLM behind an OpenAI-compatible API a server asks, how, and what it may cost."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from lada.core.bounds import AnswerTokens, Seconds
from lada.core.registry import Options
from lada.core.terms import Verb
from lada.models.learners import LearnerOptions

Style = Literal["chat", "completions"]
OWN = frozenset(
    {
        *("model", "messages", "prompt", "temperature", "seed", "stop", "n", "stream", "reasoning_effort"),
        *("max_tokens", "max_completion_tokens", "echo", "logprobs", "top_logprobs", "prompt_logprobs"),
    }
)
"""Keys of a request that other options decide, or on which the reading of its answer rests."""
SECRETIVE = re.compile(
    r"auth(?!ors?$)|cookie|credential|passw|secret|signature|(^|[-_])(api)?[-_]?(key|token)$", re.IGNORECASE
)
"""Names whose values are secrets."""
LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost):[1-9][0-9]{0,4}/v1")
PLAIN = re.compile(r"https?://(127\.0\.0\.1|[a-z][a-z0-9-]*(\.[a-z0-9-]+)*)(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._-]+)*/?")
"""Addresses that need no library to tell that they are sound: those of almost everybody."""
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Prices(Options):
    """What a million tokens cost, in any one currency."""

    input: float = Field(ge=0, le=1e9, allow_inf_nan=False)
    """A million tokens of questions and their prompts."""
    output: float = Field(ge=0, le=1e9, allow_inf_nan=False)
    """A million tokens of answers."""


class Budget(Options):
    """The most that one run may ask for; None: no limit. What comes from the cache costs nothing."""

    requests: int | None = Field(default=None, ge=0, le=10**12)
    """Requests sent, repeated ones too."""
    tokens: int | None = Field(default=None, ge=0, le=10**15)
    """Input and output tokens together."""
    cost: float | None = Field(default=None, ge=0, le=1e12, allow_inf_nan=False)
    """In the currency of `prices`."""


OUR_ARGUMENTS = (
    "--host",
    "--port",
    "--api-key",
    "--served-model-name",
    "--max-logprobs",
    "--generation-config",
    "--seed",
)
"""Arguments of `vllm serve` that LaDa gives by itself."""


class Serve(Options):
    """A server of vLLM's that LaDa starts (`vllm serve`), looks after and ends."""

    arguments: tuple[str, ...] = ()
    """More arguments, such as `--tensor-parallel-size=4` or `--gpu-memory-utilization=0.8`."""
    timeout: Seconds = 1800.0
    """Seconds that it may take to load the model."""

    @field_validator("arguments")
    @classmethod
    def _not_ours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if own := next((each for each in value if each.partition("=")[0].replace("_", "-") in OUR_ARGUMENTS), None):
            raise ValueError(f"{own.partition('=')[0]!r} is given by LaDa itself; expected other arguments")
        return value


class ApiOptions(Options):
    """A model behind an OpenAI-compatible API. The key itself is read from the environment and is never an option."""

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str
    """What `/chat/completions` or `/completions` is put behind, such as `https://api.openai.com/v1`."""
    model: str
    """The model's name as the server knows it."""
    style: Style = "chat"
    """Ask for chat messages or for the continuation of a text."""
    key_variable: str | None = "OPENAI_API_KEY"
    """The environment variable that holds the key; None for a server that wants none."""
    system: str | None = None
    """A system message, for `chat`."""
    prompt: str = "{question}"
    """What is sent for a question; `{question}` stands for it."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer, for models that would go on behind it."""
    temperature: float | None = Field(0.0, ge=0, le=2)
    """Sent where a greedy answer is wanted; None: not sent, for models that take no temperature but their own."""
    max_new_tokens: AnswerTokens = 512
    """The longest answer, tokens."""
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls `max_new_tokens`; OpenAI's newer models take the second only."""
    reasoning_effort: str | None = None
    """How much a reasoning model thinks, such as `low`, for servers that take it; None: not sent."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """More keys of each request, such as `top_p`, or `chat_template_kwargs` of vLLM."""
    extra_headers: dict[str, str] = Field(default_factory=dict)
    """More headers of each request. They are kept with the configuration, so none of them may be a secret."""
    secret_headers: dict[str, str] = Field(default_factory=dict)
    """Headers with secrets: the name of each, and the environment variable that holds its value."""
    log_probs: bool = False
    """Ask for the log-probs of the answer's tokens, which methods that weigh a teacher's confidence need."""
    scores: Literal["prompt_logprobs", "echo"] | None = None
    """How the server scores given texts, so that the model can judge: `prompt_logprobs` as vLLM does, or `echo` with
    `logprobs` as in OpenAI's first completions and llama-cpp-python. None: it does not."""
    tokenizer: str | None = None
    """The model's tokenizer, a folder or hub id. With `prompt_logprobs`, texts are then sent as its tokens, so that the
    scores are those of the model at hand: token by token, with end-of-sequence, and behind its chat template."""
    top_log_probs: int = Field(20, ge=1, le=1024)
    """The most tokens per position that the server gives log-probs of; vLLM's `--max-logprobs` is 20."""
    prompts_per_request: int = Field(1, ge=1, le=1024)
    """Texts that one request holds, in style `completions` and for `scores`, where the server takes lists, as vLLM
    does."""
    serve: Serve | None = None
    """Start a server of vLLM's at `base_url`, where none answers for `model`; it ends with the run. None: there is one
    already."""
    concurrency: int = Field(8, ge=1, le=1024)
    """Requests under way at once."""
    requests_per_minute: float | None = Field(default=None, ge=1e-3, le=1e6, allow_inf_nan=False)
    """Requests sent per minute at most; None: as fast as `concurrency` allows."""
    timeout: Seconds = 60.0
    """Seconds that the server may be silent."""
    time_limit: Seconds = 600.0
    """Seconds that a whole answer may take, however steadily it drips."""
    retries: int = Field(6, ge=0, le=100)
    """How often a request is repeated whose failure may pass: 429, 5xx, silence, a cut-off answer."""
    budget: Budget = Budget()
    """What a run may ask for in all."""
    prices: Prices | None = None
    """What tokens cost; needed for `budget.cost`."""
    cache: str | None = None
    """The folder that keeps every answer; None: `answers` in LaDa's cache folder."""

    @property
    def verbs(self) -> frozenset[Verb]:
        """Return what a learner behind this API can do."""
        can = {
            Verb.ANSWER: True,
            Verb.CONFIDENCE: self.log_probs,
            Verb.JUDGE: self.scores is not None,
            Verb.LOG_PROBS: self.scores == "prompt_logprobs" and self.tokenizer is not None,
        }
        return frozenset(verb for verb, able in can.items() if able)

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not (PLAIN.fullmatch(value) or _is_sound(value)):
            # The value is not repeated: somebody may have put a key into it.
            raise ValueError("expected http(s)://host/path without user, password or query, often ending in /v1")
        return value.rstrip("/")

    @field_validator("key_variable")
    @classmethod
    def _variable(cls, value: str | None) -> str | None:
        return None if value is None else _variable_name(value, "OPENAI_API_KEY")

    @field_validator("extra_body")
    @classmethod
    def _body(cls, value: dict[str, Any]) -> dict[str, Any]:
        if own := sorted(OWN & value.keys()):
            raise ValueError(f"{own[0]!r} is not for this option; LaDa sends it by itself, or another option does")
        if secret := next(filter(SECRETIVE.search, _keys(value)), None):
            raise ValueError(f"{secret!r} looks like a secret, and this is kept with the run; expected secret_headers")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("it holds what JSON cannot; expected texts, finite numbers, lists and mappings") from None
        return value

    @field_validator("extra_headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if SECRETIVE.search(_header_name(name)):
                raise ValueError(f"{name!r} looks like a secret, and this is kept with the run; use secret_headers")
            if not (text.isascii() and text.isprintable()):
                raise ValueError(f"{name!r} has a value that no header can have; expected printable ASCII characters")
        return value

    @field_validator("secret_headers")
    @classmethod
    def _secrets(cls, value: dict[str, str]) -> dict[str, str]:
        return {_header_name(name): _variable_name(variable, "AZURE_API_KEY") for name, variable in value.items()}

    @field_validator("prompt")
    @classmethod
    def _holds_the_question(cls, value: str) -> str:
        if "{question}" not in value:
            raise ValueError(f"{value!r} holds no '{{question}}'; put it where the question belongs")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "ApiOptions":
        if self.system is not None and self.style != "chat":
            raise ValueError("system is for style 'chat'; put the text into prompt")
        if self.budget.cost is not None and self.prices is None:
            raise ValueError("budget.cost needs prices; give prices.input and prices.output per million tokens")
        if self.scores == "echo" and self.style != "completions":
            raise ValueError("scores: 'echo' is for style 'completions'; expected 'prompt_logprobs' with a tokenizer")
        if self.scores == "prompt_logprobs" and self.style == "chat" and self.tokenizer is None:
            raise ValueError(
                "scores: 'prompt_logprobs' in style 'chat' needs the chat template of a tokenizer; give tokenizer, the "
                "folder or hub id of the model's, or style: completions"
            )
        if self.serve is not None and not LOOPBACK.fullmatch(self.base_url):
            raise ValueError(
                f"base_url is {self.base_url!r} with serve, which starts a server on this machine; expected "
                "http://127.0.0.1:PORT/v1"
            )
        if self.tokenizer is not None and self.scores != "prompt_logprobs":
            raise ValueError("tokenizer is for scores: 'prompt_logprobs'; leave it out")
        return self


class ApiModel(LearnerOptions):
    """A server's model that is behind an API: it can answer and, on some servers, judge; it cannot learn."""

    api: ApiOptions
    """Where the model is, how it is asked and what that may cost."""

    @property
    def able(self) -> frozenset[Verb]:
        """See LearnerOptions."""
        return self.api.verbs

    @property
    def limited_by(self) -> str:
        """See LearnerOptions."""
        more = {Verb.CONFIDENCE: "log_probs: true", Verb.JUDGE: "scores", Verb.LOG_PROBS: "scores and a tokenizer"}
        hints = [f"with {option} it has {verb}" for verb, option in more.items() if verb not in self.able]
        return "; ".join(["model.api", *hints])

    @property
    def remote(self) -> bool:
        """See LearnerOptions: its weights are the provider's."""
        return True


def _is_sound(address: str) -> bool:
    """Whether requests can be sent below an address, and it holds nothing else."""
    import httpx  # here, since few addresses need it

    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        return False
    named = url.scheme in ("http", "https") and bool(url.host) and not re.search(r"\s", address)
    return named and (url.port or 1) < 2**16 and not (url.userinfo or url.query or url.fragment)


def _variable_name(value: str, example: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
        # Not repeated: somebody may have put the key itself there.
        raise ValueError(f"expected the name of an environment variable, such as {example}, not the key itself")
    return value


def _header_name(name: str) -> str:
    if not HEADER.fullmatch(name) or name.lower() in ("content-length", "content-type", "host", "transfer-encoding"):
        raise ValueError(f"{name!r} cannot be set; expected the name of a header that is not the connection's own")
    return name


def _keys(value: Any) -> Iterator[str]:
    """Yield all keys in plain data."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)
