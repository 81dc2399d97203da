"""Which LLM behind an OpenAI-compatible API a server asks, how, and what it may cost."""

import re
from typing import Literal

import httpx
from pydantic import ConfigDict, Field, field_validator, model_validator

from lada.core.bounds import AnswerTokens, Seconds
from lada.core.registry import Options
from lada.core.terms import Verb


class Prices(Options):
    """What a million tokens cost, in any one currency."""

    input: float = Field(ge=0, allow_inf_nan=False)
    """A million tokens of questions and their prompts."""
    output: float = Field(ge=0, allow_inf_nan=False)
    """A million tokens of answers."""


class Budget(Options):
    """The most that one run may ask for; None: no limit. What comes from the cache costs nothing."""

    requests: int | None = Field(default=None, ge=0)
    """Requests sent, repeated ones too."""
    tokens: int | None = Field(default=None, ge=0)
    """Input and output tokens together."""
    cost: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """In the currency of `prices`."""


class ApiOptions(Options):
    """A model behind an OpenAI-compatible API. The key itself is read from the environment and is never an option."""

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str
    """What `/chat/completions` or `/completions` is put behind, such as `https://api.openai.com/v1`."""
    model: str
    """The model's name as the server knows it."""
    style: Literal["chat", "completions"] = "chat"
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
    log_probs: bool = False
    """Ask for the log-probs of the answer's tokens, which methods that weigh a teacher's confidence need."""
    concurrency: int = Field(8, ge=1, le=1024)
    """Requests under way at once."""
    requests_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Requests sent per minute at most; None: as fast as `concurrency` allows."""
    timeout: Seconds = 60.0
    """Seconds that the server may be silent."""
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
        return frozenset({Verb.ANSWER, Verb.CONFIDENCE} if self.log_probs else {Verb.ANSWER})

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            url = httpx.URL(value)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
            # The value is not repeated: somebody may have put a key into it.
            raise ValueError("expected http(s)://host/path without user, password or query, often ending in /v1")
        return value.rstrip("/")

    @field_validator("key_variable")
    @classmethod
    def _variable(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
            # Not repeated, for the same reason.
            raise ValueError("expected the name of an environment variable, such as OPENAI_API_KEY, not the key itself")
        return value

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
        return self


class ApiModel(Options):
    """A server's model that is behind an API: it can answer and nothing else."""

    api: ApiOptions
    """Where the model is, how it is asked and what that may cost."""
