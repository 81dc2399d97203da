"""Asks an OpenAI-compatible server: several requests at once, again where a failure may pass, no answer twice.

The key is read from the environment when a client is made and goes into a request's header and nowhere else. What a
server says is cleared of it before anybody reads it.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from lada.core.errors import InputError
from lada.core.seeds import generator
from lada.models.api_cache import AnswerCache, Reply, digest_of
from lada.models.api_meter import ApiError, Meter, Pacer, Tokens
from lada.models.api_options import ApiOptions

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
FIRST_WAIT = 1.0
"""Seconds before a request is repeated for the first time, before jitter; they double with each further time."""
LONGEST_WAIT = 60.0
"""The most that doubling leads to. A server that names its own wait with Retry-After is given it in full …"""
PATIENCE = 600.0
"""… unless it is longer than this, seconds: then the run ends, and may be started anew when the server is ready."""
SECRET = 12
"""Characters that a key has at least. What is shorter is a word such as EMPTY for servers that want none, and may well
stand in an answer."""
PASSING = frozenset({408, 409, 425, 429})
"""Beside all of 5xx: status codes of failures that may pass."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure that may pass. `wait` is what the server asks for, seconds; `paid`: it may have answered even so."""

    what: str
    wait: float | None = None
    paid: bool = False


def read_key(options: ApiOptions) -> str | None:
    """Return the key from the environment. Raises InputError, without it, where there is none or it cannot be one."""
    if options.key_variable is None:
        return None
    key = os.environ.get(options.key_variable, "").strip()
    if not key:
        raise InputError(
            f"model.api.key_variable: the environment variable {options.key_variable} is not set; put the key for "
            f"{options.base_url} into it, or set key_variable: null for a server that wants none"
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise InputError(
            f"model.api.key_variable: what {options.key_variable} holds is no key; expected printable ASCII characters"
        )
    return key


def back_off(attempt: int, asked: float | None, *address: str | int) -> float:
    """Return the seconds to wait before repeating: what the server asked for, else doubling with jitter of up to half.

    `attempt` counts from 0; the jitter is drawn from a generator at `address`.
    """
    if asked is not None:
        return asked
    most = min(LONGEST_WAIT, FIRST_WAIT * 2.0**attempt)
    return most * float(generator("back-off", attempt, *address).uniform(0.5, 1))


def retry_after(value: str | None, now: float) -> float | None:
    """Return a Retry-After header as seconds from `now` (Unix time), at least 0; None where it says nothing."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


class ApiClient:
    """Requests to one model of one server. `meter` knows what they took."""

    def __init__(self, options: ApiOptions, folder: Path) -> None:
        """`folder` keeps the answers. Raises InputError where the key is missing or the folder cannot be made."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"model.api.cache: {str(folder)!r} cannot be made: {error.strerror}; name another"
            ) from None
        self._options = options
        self._key = read_key(options)
        self._cache = AnswerCache(folder)
        self._pacer = Pacer(options.requests_per_minute)
        self._stopped = threading.Event()
        self.meter = Meter(options.budget, options.prices)

    def ask(self, bodies: Sequence[dict[str, Any]], on_reply: Callable[[int, Reply], None]) -> list[Reply]:
        """Return one reply per request, in their order; `on_reply(done, reply)` follows each as it arrives.

        Equal requests are sent once. Raises InputError for failures that will not pass, ApiError for those that did
        not and for a budget that is spent; whatever arrived by then is in the cache.
        """
        digests = [digest_of(self._options.base_url, self._options.style, body) for body in bodies]
        self._stopped.clear()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=self._options.concurrency)
        replies: dict[str, Reply] = {}
        with (
            httpx.Client(headers=headers, timeout=self._options.timeout, limits=limits) as http,
            ThreadPoolExecutor(self._options.concurrency) as pool,
        ):
            unique = dict(zip(digests, bodies, strict=True))
            futures = {pool.submit(self._work, http, digest, body): digest for digest, body in unique.items()}
            try:
                for future in as_completed(futures):
                    try:
                        reply = future.result()
                    except CancelledError:  # the future that failed is still to come
                        continue
                    replies[futures[future]] = reply
                    on_reply(len(replies), reply)
            except BaseException:
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [replies[digest] for digest in digests]

    def _work(self, http: httpx.Client, digest: str, body: dict[str, Any]) -> Reply:
        """Ask; where that fails for good, stop the others before they send anything more."""
        try:
            return self._ask(http, digest, body)
        except BaseException:
            self._stopped.set()
            raise

    def _ask(self, http: httpx.Client, digest: str, body: dict[str, Any]) -> Reply:
        if reply := self._cache.get(digest):
            return reply
        # No tokenizer makes more tokens of a text than it has bytes; a server's own template adds a few.
        most = Tokens(len(json.dumps(body, ensure_ascii=False).encode()), self._options.max_new_tokens)
        attempt = 0
        while True:
            self._sleep(self._pacer.delay())
            self._reserve(most)
            spent = Tokens()
            try:
                outcome = self._post(http, body)
                if isinstance(outcome, Reply):
                    spent = _spent(outcome, most)
                    self._cache.put(digest, outcome)
                    return outcome
                spent = most if outcome.paid else Tokens()
            finally:
                self.meter.settle(most, spent)
            wait = back_off(attempt, outcome.wait, digest)
            attempt += 1
            if attempt > self._options.retries or wait > PATIENCE:
                asks = f" (it asks to wait {wait:.0f} s)" if outcome.wait else ""
                raise ApiError(
                    f"model.api: {self._options.base_url} does not answer for model {self._options.model!r}; attempts: "
                    f"{attempt}, the last: {outcome.what}{asks}. {self._kept()}"
                )
            self._sleep(wait)

    def _reserve(self, most: Tokens) -> None:
        try:
            self.meter.reserve(most)
        except ApiError as error:
            raise ApiError(f"{error}. {self._kept()}, with a larger budget") from None

    def _kept(self) -> str:
        return (
            f"All answers so far are kept in {str(self._cache.folder)!r} and will not be asked for again: run it anew"
        )

    def _sleep(self, seconds: float) -> None:
        """Wait. Raises CancelledError where another request has failed for good."""
        if self._stopped.wait(seconds) if seconds > 0 else self._stopped.is_set():
            raise CancelledError

    def _post(self, http: httpx.Client, body: dict[str, Any]) -> Reply | Fault:
        """Send a request once. Raises InputError for a failure that will not pass."""
        try:
            response = http.post(self._options.base_url + PATHS[self._options.style], json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return Fault(f"no connection: {error}")
        except httpx.RequestError as error:  # silence, or a connection that broke: what was asked may be charged
            return Fault(f"{type(error).__name__} (timeout: {self._options.timeout} s)", paid=True)
        secret = self._key is not None and len(self._key) >= SECRET
        text = response.text.replace(str(self._key), "***") if secret else response.text
        status = response.status_code
        if status in PASSING or status >= 500:
            return Fault(
                f"status {status}: {text[:300]}", retry_after(response.headers.get("retry-after"), time.time())
            )
        if not response.is_success:
            raise InputError(self._refused(status, text))
        try:
            reply = read_reply(text, log_probs=self._options.log_probs)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return Fault(f"an answer that is cut off or not of the expected form: {text[:300]}", paid=True)
        if self._options.log_probs and reply.text and not reply.log_probs:
            raise InputError(
                f"model.api.log_probs: {self._options.base_url} returns no log-probs for model "
                f"{self._options.model!r}; set log_probs: false and choose methods that need no confidence of a "
                "teacher, such as allocator: verified"
            )
        return reply

    def _refused(self, status: int, text: str) -> str:
        """Say what to check where a server refuses a request."""
        if status in (401, 403):
            variable = self._options.key_variable
            check = (
                f"the key in the environment variable {variable}"
                if variable
                else "key_variable: the server wants a key"
            )
        elif status == 404:
            check = "base_url (it often ends in /v1), the model's name and style"
        else:
            check = (
                "that server and model take these options: style, temperature, limit_name, log_probs, max_new_tokens"
            )
        return (
            f"model.api: {self._options.base_url} refuses model {self._options.model!r} with status {status}: "
            f"{text[:300]}; check {check}"
        )


def read_reply(text: str, *, log_probs: bool) -> Reply:
    """Return what a server's JSON says, in either style. Raises ValueError, KeyError, … where it is no whole answer."""
    data = json.loads(text)
    choice = data["choices"][0]
    written = choice["message"]["content"] if "message" in choice else choice["text"]
    usage = data.get("usage") or {}
    return Reply(
        text=(written or "").encode("utf-8", "replace").decode(),  # JSON may hold halves of characters
        log_probs=_log_probs(choice.get("logprobs") or {}) if log_probs else None,
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
    )


def _log_probs(told: dict[str, Any]) -> tuple[float, ...] | None:
    """Return log-probs from `content` or, in the older form, `token_logprobs`; rounding may put one a hair above 0."""
    found = [token["logprob"] for token in told.get("content") or ()] or told.get("token_logprobs") or ()
    return tuple(min(0.0, float(value)) for value in found) or None


def _spent(reply: Reply, most: Tokens) -> Tokens:
    """Return what a reply took; where the server does not say, what it may have taken."""
    return Tokens(
        most.input if reply.input_tokens is None else reply.input_tokens,
        most.output if reply.output_tokens is None else reply.output_tokens,
    )
