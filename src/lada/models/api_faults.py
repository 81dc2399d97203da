"""The meaning of a server's refusal: retry, skip this question, or stop."""

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
"""Status codes of temporary failures, in addition to most of 5xx."""
LASTING = frozenset({501, 505, 511})
"""Status codes of 5xx for permanent failures."""
ABOUT_A_REQUEST = frozenset({400, 403, 413, 422, 451, 500})
"""Status codes with which a server may refuse one question and answer the next."""
SPENT = re.compile(
    r"insufficient_quota|insufficient[_ ](balance|funds|credits?)|billing_(hard_limit_reached|not_active)|"
    r"exceeded_current_quota|credit balance is too low|out of credits|payment_required",
    re.IGNORECASE,
)
"""What servers say if an account is empty. `You exceeded your current quota` is not included: some servers say this
when only a minute's quota is spent."""
ABOUT_THE_QUESTION = re.compile(
    r"content[_ ]?(policy|filter|management)|responsible_?ai|moderation|flagged|safety|invalid_prompt|"
    r"context[_ ](length|size|window)|exceed_context|string_above_max|too (long|large|many tokens)",
    re.IGNORECASE,
)
"""What servers say if the question is the reason: its content, or its length."""
THE_QUESTION = frozenset({"", "messages", "prompt", "input", "input_tokens", "content"})
"""Servers' names for the part of a request that holds the question; empty if they name no part."""
SHOWN = 300
"""How many characters of a server's message are shown."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A temporary failure. `wait` is the wait that the server asks for, seconds. `paid`: the request may have been
    charged.

    `busy`: the server refuses everyone, so no question is the reason.
    """

    what: str
    wait: float | None = None
    paid: bool = False
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """A question without an answer, and the reason.

    `sure`: the server says that the question is the reason. `failed`: it did not answer after all retries.
    """

    why: str
    sure: bool = True
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """A failure of all questions. `spent`: the account is empty; otherwise `check` names what to check."""

    what: str
    check: str = ""
    spent: bool = False


def read_failure(
    status: int, headers: Mapping[str, str], text: str, *, now: float, variable: str | None
) -> Fault | Lost | Stop:
    """Return the meaning of a response without an answer. `now` is Unix time, `variable` the key's environment
    variable.

    `text` is shown unchanged, so it must not contain a secret.
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
    """Return what to check if a server refuses every request."""
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
    """Return an address without user, password and query, since these may be secrets."""
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
    """Return a server's message for users: an error's message, a web page's title, or the beginning of the text."""
    message = _error(text).get("message")
    if not isinstance(message, str):
        title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
        message = f"a web page, {(title[1] if title else '').strip()!r}" if is_page(text) else text
    return in_one_line(" ".join(message[: 4 * SHOWN].split())[:SHOWN])


def is_page(text: str) -> bool:
    """Return whether a text is HTML."""
    return bool(re.match(r"\s*<(!doctype\s+html|html|head|body)\b", text[:1000], re.IGNORECASE))


def _error(text: str) -> Mapping[str, Any]:
    """Return the error in a server's JSON, with OpenAI's names for its parts; {} if there is none."""
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
    """Return how long a server asks to wait, seconds from `now` (Unix time), at least 0; None if it does not say.

    OpenAI's and Azure's servers give the exact wait in `retry-after-ms`; `Retry-After` is seconds or an HTTP date.
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
