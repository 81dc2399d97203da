"""Reads replies that arrive as a stream of events, which some servers send unasked."""

import json
import re
from collections.abc import Mapping
from typing import Any

EVENTS = re.compile(r"\s*(data|event|id|retry)?:")
"""The beginning of a stream of events; no JSON text begins so."""


def is_stream(text: str) -> bool:
    """Return whether a text is a stream of events."""
    return bool(EVENTS.match(text))


def joined(text: str) -> dict[str, Any] | None:
    """Return a stream of parts of a reply as one reply; None for a truncated stream and for other streams.

    If the stream contains an error, only the error is returned.
    """
    lines = [line.removeprefix("data:").strip() for line in re.split("[\\r\\n]+", text) if line.startswith("data:")]
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    try:
        for part in (json.loads(line) for line in lines if line not in ("", "[DONE]")):
            if part.get("error"):
                return part
            whole |= {name: value for name, value in part.items() if value is not None}
            for choice in part.get("choices") or ():
                _add(choices.setdefault(choice.get("index") or 0, {}), choice)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    ended = "[DONE]" in lines or (choices and all(choice.get("finish_reason") for choice in choices.values()))
    return {**whole, "choices": [choices[index] for index in sorted(choices)]} if ended else None


def _add(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Add a part of a choice, of a message or of log-probs: texts and lists are appended, other values replaced."""
    for key, value in part.items():
        name = "message" if key == "delta" else key
        before = whole.get(name)
        if isinstance(value, Mapping):
            into = before if isinstance(before, dict) else {}
            _add(into, value)
            whole[name] = into
        elif name in GROWING and type(before) is type(value):
            whole[name] = before + value
        elif value is not None:
            whole[name] = value


GROWING = frozenset({"content", "text", "refusal", "reasoning_content", "tokens", "token_logprobs"})
"""Names of the values that arrive in pieces."""
