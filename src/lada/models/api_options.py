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
"""Request keys that other options set or that LaDa needs to read the answer."""
SECRETIVE = re.compile(
    r"auth(?!ors?$)|cookie|credential|passw|secret|signature|(^|[-_])(api)?[-_]?(key|token)$", re.IGNORECASE
)
"""Names whose values are secrets."""
LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost):[1-9][0-9]{0,4}/v1")
PLAIN = re.compile(r"https?://(127\.0\.0\.1|[a-z][a-z0-9-]*(\.[a-z0-9-]+)*)(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._-]+)*/?")
"""Common addresses that are known to be valid, so that httpx need not be loaded."""
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Prices(Options):
    """Prices per million tokens, in any one currency."""

    input: float = Field(ge=0, le=1e9, allow_inf_nan=False)
    """Price of a million tokens of questions and their prompts."""
    output: float = Field(ge=0, le=1e9, allow_inf_nan=False)
    """Price of a million tokens of answers."""


class Budget(Options):
    """Upper limits for one run. None means no limit. Cached answers cost nothing."""

    requests: int | None = Field(default=None, ge=0, le=10**12)
    """Number of requests sent, including repeated ones."""
    tokens: int | None = Field(default=None, ge=0, le=10**15)
    """Number of input and output tokens together."""
    cost: float | None = Field(default=None, ge=0, le=1e12, allow_inf_nan=False)
    """Total cost, in the currency of `prices`."""


OUR_ARGUMENTS = (
    "--host",
    "--port",
    "--api-key",
    "--served-model-name",
    "--max-logprobs",
    "--generation-config",
    "--seed",
)
"""Arguments of `vllm serve` that LaDa sets itself."""


class Serve(Options):
    """A vLLM server that LaDa starts (`vllm serve`), monitors and stops."""

    arguments: tuple[str, ...] = ()
    """Additional arguments, such as `--tensor-parallel-size=4` or `--gpu-memory-utilization=0.8`."""
    timeout: Seconds = 1800.0
    """Seconds the server may take to load the model."""

    @field_validator("arguments")
    @classmethod
    def _not_ours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if own := next((each for each in value if each.partition("=")[0].replace("_", "-") in OUR_ARGUMENTS), None):
            raise ValueError(f"{own.partition('=')[0]!r} is set by LaDa itself; expected other arguments")
        return value


class ApiOptions(Options):
    """A model behind an OpenAI-compatible API. The key is read from the environment and is never an option."""

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str
    """Base address, such as `https://api.openai.com/v1`. LaDa appends `/chat/completions` or `/completions`."""
    model: str
    """The model's name on the server."""
    style: Style = "chat"
    """Request chat messages or text completions."""
    key_variable: str | None = "OPENAI_API_KEY"
    """Environment variable that holds the key. None is for a server that needs no key."""
    system: str | None = None
    """A system message, for style `chat`."""
    prompt: str = "{question}"
    """The text sent for a question; `{question}` stands for the question."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer, for models that would continue after it."""
    temperature: float | None = Field(0.0, ge=0, le=2)
    """Temperature sent for greedy answers. None sends no temperature, for models that accept only their own."""
    max_new_tokens: AnswerTokens = 512
    """Maximum length of an answer, in tokens."""
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The server's name for `max_new_tokens`. OpenAI's newer models accept only the second."""
    reasoning_effort: str | None = None
    """How much a reasoning model thinks, such as `low`, for servers that support it. None sends nothing."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Additional keys of each request, such as `top_p`, or `chat_template_kwargs` for vLLM."""
    extra_headers: dict[str, str] = Field(default_factory=dict)
    """Additional headers of each request. They are stored with the configuration, so they must not contain secrets."""
    secret_headers: dict[str, str] = Field(default_factory=dict)
    """Headers with secret values. Each header name maps to the environment variable that holds its value."""
    log_probs: bool = False
    """Request the log-probs of the answer's tokens. Methods that use a teacher's confidence need them."""
    scores: Literal["prompt_logprobs", "echo"] | None = None
    """How the server scores given texts, which lets the model judge: `prompt_logprobs` as in vLLM, or `echo` with
    `logprobs` as in OpenAI's early completions and llama-cpp-python. None means that it cannot."""
    tokenizer: str | None = None
    """The model's tokenizer, as a folder or hub id. With `prompt_logprobs`, LaDa then sends texts as its tokens. The
    scores are then token by token, include end-of-sequence and follow the chat template, as for a local model."""
    top_log_probs: int = Field(20, ge=1, le=1024)
    """Maximum number of tokens per position for which the server gives log-probs. vLLM's `--max-logprobs` is 20."""
    prompts_per_request: int = Field(1, ge=1, le=1024)
    """Number of texts per request, in style `completions` and for `scores`, if the server accepts lists, as vLLM
    does."""
    serve: Serve | None = None
    """Start a vLLM server at `base_url` if none serves `model` there. It stops with the run. None expects a running
    server."""
    concurrency: int = Field(8, ge=1, le=1024)
    """Maximum number of concurrent requests."""
    requests_per_minute: float | None = Field(default=None, ge=1e-3, le=1e6, allow_inf_nan=False)
    """Maximum number of requests per minute. None means as many as `concurrency` allows."""
    timeout: Seconds = 60.0
    """Seconds the server may be silent."""
    time_limit: Seconds = 600.0
    """Seconds a whole answer may take, even if tokens keep arriving."""
    retries: int = Field(6, ge=0, le=100)
    """How often to repeat a request after a failure that may be temporary: 429, 5xx, silence, a truncated response."""
    budget: Budget = Budget()
    """Upper limits for the whole run."""
    prices: Prices | None = None
    """Token prices, required by `budget.cost`."""
    cache: str | None = None
    """Folder that stores every answer. None means `answers` in LaDa's cache folder."""

    @property
    def verbs(self) -> frozenset[Verb]:
        """What a learner behind this API can do."""
        can = {
            Verb.ANSWER: True,
            Verb.EXPLAIN: True,
            Verb.CONFIDENCE: self.log_probs,
            Verb.JUDGE: self.scores is not None,
            Verb.LOG_PROBS: self.scores == "prompt_logprobs" and self.tokenizer is not None,
        }
        return frozenset(verb for verb, able in can.items() if able)

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not (PLAIN.fullmatch(value) or _is_sound(value)):
            # The message does not repeat the value, which may contain a key.
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
            raise ValueError(f"{own[0]!r} cannot be set here; LaDa or another option sets it")
        if secret := next(filter(SECRETIVE.search, _keys(value)), None):
            raise ValueError(f"{secret!r} looks like a secret, but this is stored with the run; use secret_headers")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(
                "it holds what JSON cannot represent; expected texts, finite numbers, lists and mappings"
            ) from None
        return value

    @field_validator("extra_headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if SECRETIVE.search(_header_name(name)):
                raise ValueError(f"{name!r} looks like a secret, but this is stored with the run; use secret_headers")
            if not (text.isascii() and text.isprintable()):
                raise ValueError(
                    f"{name!r} has a value that is not valid in a header; expected printable ASCII characters"
                )
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
    """A server's model behind an API. It can answer and, on some servers, judge. It cannot learn."""

    api: ApiOptions
    """Which model to ask, how, and what it may cost."""

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
        """See LearnerOptions: the provider holds the weights."""
        return True


def _is_sound(address: str) -> bool:
    """Return whether an address is a valid base for requests and contains nothing else."""
    import httpx  # here, since few addresses need it

    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        return False
    named = url.scheme in ("http", "https") and bool(url.host) and not re.search(r"\s", address)
    return named and (url.port or 1) < 2**16 and not (url.userinfo or url.query or url.fragment)


def _variable_name(value: str, example: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
        # Not repeated, since it may be the key itself.
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
