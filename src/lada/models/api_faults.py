"""What a server's refusal means: ask again, leave this question out, or stop."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from lada.core.shown import in_one_line

PASSING = frozenset({408, 409, 425, 429})
"""Beside most of 5xx: status codes of failures that may pass."""
LASTING = frozenset({501, 505, 511})
"""Status codes of 5xx that do not pass."""
ABOUT_A_REQUEST = frozenset({400, 403, 413, 422, 451, 500})
"""Status codes by which a server may refuse one question and answer the next."""
SPENT = re.compile(
    r"insufficient_quota|insufficient[_ ](balance|funds|credits?)|billing_(hard_limit_reached|not_active)|"
    r"exceeded_current_quota|credit balance is too low|out of credits|payment_required",
    re.IGNORECASE,
)
"""What servers say where an account has nothing left. `You exceeded your current quota` is not among it: some say so
where a minute's is spent."""
ABOUT_THE_QUESTION = re.compile(
    r"content[_ ]?(policy|filter|management)|responsible_?ai|moderation|flagged|safety|invalid_prompt|"
    r"context[_ ](length|size|window)|exceed_context|string_above_max|too (long|large|many tokens)",
    re.IGNORECASE,
)
"""What servers say where the question is the reason: its content, or its length."""
THE_QUESTION = frozenset({"", "messages", "prompt", "input", "input_tokens", "content"})
"""What servers call the part of a request that holds the question; empty where they name no part."""
SHOWN = 300
"""Characters of a server's words that are shown."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure that may pass. `wait` is what the server asks for, seconds; `paid`: it may have answered even so.

    `busy`: the server refuses whoever asks, so that no question is its reason.
    """

    what: str
    wait: float | None = None
    paid: bool = False
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """A question that gets no answer, and why.

    `sure`: the server says that the question is the reason. `failed`: it did not answer, however often it was asked.
    """

    why: str
    sure: bool = True
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """A failure of all questions. `spent`: the account has nothing left, else `check` says what to look at."""

    what: str
    check: str = ""
    spent: bool = False


def read_failure(
    status: int, headers: Mapping[str, str], text: str, *, now: float, variable: str | None
) -> Fault | Lost | Stop:
    """Return what a response without an answer means. `now` is Unix time, `variable` that of the key.

    `text` is shown as it is, so it must hold no secret.
    """
    error = _error(text)
    code = f"{error.get('code')} {error.get('type')}"
    said = f"status {status}: {words(text)}"
    if status == 402 or SPENT.search(code if status == 429 else f"{code} {error.get('message')}"):
        return Stop(said, spent=True)
    named = re.split(r"[.\[]", str(error.get("param") or ""))[0]
    if status in ABOUT_A_REQUEST and named in THE_QUESTION:
        if ABOUT_THE_QUESTION.search(f"{code} {error.get('message', text)}"):
            return Lost(said)
        if status not in (403, 500):
            return Lost(said, sure=False)
    if status in PASSING or (status >= 500 and status not in LASTING):
        return Fault(said, wait_of(headers, now), busy=status == 429)
    return Stop(said, _check(status, headers, variable))


def _check(status: int, headers: Mapping[str, str], variable: str | None) -> str:
    """Return what to check where a server refuses every request."""
    match status:
        case 401 | 403:
            mine = f"the key in the environment variable {variable}, and its permissions"
            return mine if variable else "key_variable: the server wants a key"
        case _ if 200 <= status < 300:
            return "base_url (it often ends in /v1): what answers there is not an API"
        case 404 | 405:
            return "base_url (it often ends in /v1), the model's name and style"
        case _ if 300 <= status < 400:
            return f"base_url: the server redirects requests to {_place(headers.get('location', ''))!r}"
        case _:
            return OPTIONS


def _place(location: str) -> str:
    """Return an address without user, password and query, which may be secrets."""
    try:
        url = urlsplit(location)
        return in_one_line(f"{url.scheme}://{url.hostname}{url.path}" if url.hostname else url.path)
    except ValueError:
        return ""


OPTIONS = (
    "that server and model take these options: style, temperature, limit_name, log_probs, max_new_tokens, "
    "reasoning_effort, extra_body, extra_headers, scores, top_log_probs"
)


def words(text: str) -> str:
    """Return what a server says, for people: an error's message, a web page's title, or the text's beginning."""
    message = _error(text).get("message")
    if not isinstance(message, str):
        title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
        message = f"a web page, {(title[1] if title else '').strip()!r}" if is_page(text) else text
    return in_one_line(" ".join(message[: 4 * SHOWN].split())[:SHOWN])


def is_page(text: str) -> bool:
    """Return whether a text is HTML."""
    return bool(re.match(r"\s*<(!doctype\s+html|html|head|body)\b", text[:1000], re.IGNORECASE))


def _error(text: str) -> Mapping[str, Any]:
    """Return the error in a server's JSON, by the names that OpenAI gives its parts; {} where there is none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if isinstance(data, list) and data:  # Gemini's
        data = data[0]
    if not isinstance(data, dict):
        return {}
    error = data.get("error", data)
    return error if isinstance(error, dict) else {"message": error}


def wait_of(headers: Mapping[str, str], now: float) -> float | None:
    """Return how long a server asks to wait, seconds from `now` (Unix time), at least 0; None where it says nothing.

    `retry-after-ms` is what OpenAI's and Azure's servers are exact with; `Retry-After` is seconds or an HTTP date.
    """
    exact = _seconds(headers.get("retry-after-ms"))
    if exact is not None:
        return exact / 1000
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is not None or value is None:
        return seconds
    try:
        date = parsedate_to_datetime(value)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _seconds(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
