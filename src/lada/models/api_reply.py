"""A server's reply to one request, in the chat or the completions style."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from lada.core.shown import in_one_line

NOT_SAID = -9999.0
"""The log-prob that OpenAI's servers report for a token that is not among the likeliest."""
CUT = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
"""Finish reasons of answers that would continue."""
WHOLE = frozenset(
    {"", "stop", "stop_sequence", "eos", "eos_token", "eos_token_id", "end_turn", "complete", "completed", "finished"}
)
"""Finish reasons of answers that ended by themselves; the empty one is for servers that give none."""
NO_CHOICES = "no choices"
"""The finish reason for a server that gives no answer at all, as some do after filtering."""
FAILED = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})
"""Finish reasons of answers that a fault of the server ended."""


class Usage(BaseModel):
    """How many tokens a request took; None if the server does not say."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    input_tokens: int | None = None
    output_tokens: int | None = None

    @classmethod
    def read(cls, data: Any, clear: Callable[[str], str]) -> Self:
        """Return the reply in a server's JSON; `clear` removes secrets from its texts (such as a key written with
        escapes).

        Raises ValueError, KeyError, IndexError, TypeError or AttributeError if it is not a complete reply.
        """
        raise NotImplementedError


class Reply(Usage):
    """One answer."""

    text: str
    log_probs: tuple[float | None, ...] | None
    """The log-probs of the text's tokens, nats (<= 0). None for a token without one; None instead of the list if the
    server gives none at all."""
    finish: str = ""
    """The server's finish reason, in lower case; `refusal` if the model itself refused."""
    model: str = ""
    """The model that answered, according to the server."""

    @property
    def cut(self) -> bool:
        """Return whether the answer would continue."""
        return self.finish in CUT

    @property
    def refused(self) -> bool:
        """Return whether there is no answer: it is empty, or ended by a filter, a refusal or a tool call."""
        return not self.text.strip() or self.finish not in CUT | WHOLE

    @property
    def why(self) -> str:
        """Return in words how the answer ended."""
        if self.cut:
            return "cut at max_new_tokens" + ("" if self.text.strip() else ", all of them spent on reasoning")
        if self.finish == NO_CHOICES:
            return "the server returns no choices"
        return "empty" if self.finish in WHOLE else f"finish_reason {self.finish!r}"

    @classmethod
    def read(cls, data: Any, clear: Callable[[str], str]) -> Self:
        """See Usage.read."""
        choice = first_choice(data)
        if choice is None:
            return cls(text="", log_probs=None, finish=NO_CHOICES, model="", **used(data))
        finish = choice.get("finish_reason")
        finish = str((finish.get("type") if isinstance(finish, dict) else finish) or "").lower()
        message = choice.get("message")
        said = choice if message is None else message
        if message is None and not finish and "text" not in choice:
            raise KeyError("text")
        # Some servers omit it if all tokens went into reasoning.
        text, refused = _text(said.get("text" if message is None else "content"))
        if finish in FAILED or choice.get("error"):
            raise ValueError(f"finish_reason {finish!r}")
        if refused or (message and message.get("refusal")):
            finish = "refusal"
        return cls(
            text=clear(text).encode("utf-8", "replace").decode(),  # JSON may hold incomplete surrogate pairs
            log_probs=_log_probs(choice.get("logprobs") or {}),
            finish=_name(clear(finish)),
            model=_name(clear(str(data.get("model") or ""))),
            **used(data),
        )


def first_choice(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the first choice by `index`, or else by place; None if the server gives an empty list.

    Raises KeyError or TypeError if there is no list.
    """
    choices = data["choices"]
    if not isinstance(choices, list):
        raise TypeError(f"choices is {type(choices).__name__}")
    return next((choice for choice in choices if choice.get("index") == 0), choices[0] if choices else None)


def used(data: Mapping[str, Any]) -> dict[str, int | None]:
    """Return the fields of Usage in a server's JSON; values that are not counts are None."""
    usage = data.get("usage")
    told = usage if isinstance(usage, dict) else {}

    def count(name: str) -> int | None:
        value = told.get(name)
        return value if type(value) is int and value >= 0 else None

    return {"input_tokens": count("prompt_tokens"), "output_tokens": count("completion_tokens")}


def log_prob(value: Any) -> float | None:
    """Return a log-prob, at most 0 despite rounding; None for a missing or infinite one, or for NOT_SAID."""
    number = math.nan if value is None else float(value)
    return min(0.0, number) if math.isfinite(number) and number > NOT_SAID else None


def _text(content: Any) -> tuple[str, bool]:
    """Return the text of a message's content, which may be in parts, and whether one of them is a refusal.

    Parts of other kinds, such as thoughts, are ignored.
    """
    if content is None or isinstance(content, str):
        return content or "", False
    if not isinstance(content, Sequence):
        raise TypeError(f"content is {type(content).__name__}")
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    texts = [part["text"] for part in parts if part.get("type") in ("text", "output_text")]
    return "".join(texts), any(part.get("type") == "refusal" for part in parts)


def _log_probs(told: Mapping[str, Any]) -> tuple[float | None, ...] | None:
    """Return log-probs from `content` or, in the older form, `token_logprobs`."""
    content = told.get("content")
    found = [token.get("logprob") for token in content] if content else told.get("token_logprobs") or ()
    return tuple(log_prob(value) for value in found) or None


def _name(text: str) -> str:
    """Return a name from a server in a form that can be shown and stored."""
    return in_one_line(text[:100])


def alike(asked: str, answered: str) -> bool:
    """Return whether a server's name may mean the requested model, such as `big` and `org/big-2025-04-14`."""
    a, b = (re.sub(r"[^a-z0-9]", "", name.lower().rpartition("/")[2]) for name in (asked, answered))
    return a in b or b in a
