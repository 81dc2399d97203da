"""Asks an OpenAI-compatible server: several requests at once, with retries after temporary failures, and no answer
twice."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

from lada.core.errors import InputError
from lada.core.plural import counted
from lada.core.seeds import generator
from lada.models.api_cache import AnswerCache, digest_of
from lada.models.api_faults import OPTIONS, Fault, Lost, Stop, is_page, read_failure, words
from lada.models.api_lists import Body, apart, as_one, grouped
from lada.models.api_meter import ApiError, Meter, Pacer, Tokens
from lada.models.api_options import ApiOptions, Style
from lada.models.api_reply import Usage
from lada.models.api_stream import is_stream, joined
from lada.models.api_transport import Response, Send, Transport
from lada.models.vllm_server import VllmServer

R = TypeVar("R", bound=Usage)
PATHS: dict[Style, str] = {"chat": "/chat/completions", "completions": "/completions"}
FIRST_WAIT = 1.0
"""Seconds before the first retry of a request, without jitter; they double with each further retry."""
LONGEST_WAIT = 60.0
"""The upper limit of this doubling. If a server asks for its own wait with Retry-After, it is granted in full …"""
PATIENCE = 600.0
"""… unless it is longer than this, seconds: then the run ends, and can be started again when the server is ready."""
REFUSED = 64
"""How many requests may be refused, if none was answered, before the questions are no longer to blame. Also how many
may fail in a row if others were answered before."""
FAILED = 8
"""How many requests may fail, if none was answered, before the questions are no longer to blame."""


def back_off(attempt: int, asked: float | None, *address: str | int) -> float:
    """Return the seconds to wait before a retry: the server's wish, else a doubling wait with jitter of up to half.

    `attempt` counts from 0; the jitter is drawn from a generator at `address`.
    """
    if asked is not None:
        return asked
    most = min(LONGEST_WAIT, FIRST_WAIT * 2.0**attempt)
    return most * float(generator("back-off", attempt, *address).uniform(0.5, 1))


class ApiClient:
    """Requests to one model of one server. `meter` counts their cost."""

    def __init__(self, options: ApiOptions, folder: Path) -> None:
        """`folder` stores the answers. Raises InputError if a key is missing or the folder cannot be created."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"model.api.cache: {str(folder)!r} cannot be created: {error.strerror}; name another folder"
            ) from None
        self._options = options
        self._transport = Transport(options)
        self._cache = AnswerCache(folder)
        self._pacer = Pacer(options.requests_per_minute)
        self._stopped = threading.Event()
        self._refused: dict[str, Lost] = {}
        """Requests that the server refused, by digest: they are not sent again in this run."""
        self._replies: Counter[type[Usage]] = Counter()
        """The number of replies of each kind, including cached ones. They tell a single question's failure from a
        failure of all."""
        self._failing: set[str] = set()
        """Requests that failed since the server last answered, by digest."""
        self.meter = Meter(options.budget, options.prices)
        self._server = None if options.serve is None else VllmServer(options, folder / "vllm.log")

    def ask(
        self,
        kind: type[R],
        style: Style,
        bodies: Sequence[dict[str, Any]],
        on_reply: Callable[[int, R | Lost], None],
        *,
        trial: bool = False,
    ) -> list[R | Lost]:
        """Return one reply per request, in their order; `on_reply(done, reply)` follows each as it arrives.

        Equal requests are sent once. A request is Lost if the server refuses it, or if it keeps failing although the
        server works: others were answered before (cached answers count) or are answered now. In a `trial`, all may be
        Lost. Raises InputError for permanent failures of all requests; ApiError for temporary failures that did not
        pass, for an empty account and for a spent budget. All replies so far are in the cache.
        """
        options = self._options
        digests = [digest_of(options.base_url, style, body, options.extra_headers) for body in bodies]
        unique = dict(zip(digests, bodies, strict=True))
        self._stopped.clear()
        # Known replies come first: they show that the server works.
        replies = {digest: reply for digest in unique if (reply := self._known(digest, kind))}
        self._replies[kind] += sum(isinstance(reply, kind) for reply in replies.values())
        for done, reply in enumerate(replies.values(), 1):
            on_reply(done, reply)
        unknown = {digest: body for digest, body in unique.items() if digest not in replies}
        if self._server is not None and unknown:
            self._server.ready()
        with self._transport.connected() as send, ThreadPoolExecutor(options.concurrency) as pool:
            groups = grouped(unknown, options.prompts_per_request)
            futures = [pool.submit(self._work, send, kind, style, group) for group in groups]
            try:
                for future in as_completed(futures):
                    try:
                        found = future.result()
                    except CancelledError:  # the failed future follows
                        continue
                    for digest, reply in found.items():
                        replies[digest] = reply
                        on_reply(len(replies), reply)
                        if not isinstance(reply, Lost):
                            self._failing.clear()
                        elif reply.failed:
                            self._failing.add(digest)
                        if not trial:
                            self._check_lost(kind, replies, len(unique))
            except BaseException:
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                if self._server is not None:
                    self._server.check()  # for a server that has ended, the reason is known
                raise
        return [replies[digest] for digest in digests]

    def close(self) -> None:
        """End a server that LaDa started."""
        if self._server is not None:
            self._server.close()

    def take_notices(self) -> tuple[str, ...]:
        """Return notices for the user about a server that LaDa started, since the last call."""
        return () if self._server is None else self._server.take_notices()

    def _check_lost(self, kind: type[Usage], replies: Mapping[str, Usage | Lost], total: int) -> None:
        """Raise InputError if the server refuses everything, ApiError if it answers nothing.

        No question is to blame for either.
        """
        lost = [reply for reply in replies.values() if isinstance(reply, Lost)]
        failed = [reply for reply in lost if reply.failed]
        known = self._replies[kind] > 0 or len(lost) < len(replies)
        if failed and (len(self._failing) >= (REFUSED if known else FAILED) or (not known and len(lost) == total)):
            raise ApiError(
                f"model.api: {self._options.base_url} does not answer for model {self._options.model!r}, "
                f"{counted(len(self._failing), 'request')} in a row failing, the last with {failed[-1].why}. "
                f"{self._kept()}"
            )
        unsure = [reply for reply in lost if not reply.sure and not reply.failed]
        if not known and (len(unsure) >= REFUSED or (len(lost) == total and (total > 1 or unsure))):
            first = (unsure or lost)[0]
            raise InputError(
                f"model.api: {self._options.base_url} refuses {'all ' if total > 1 else ''}"
                f"{counted(len(lost), 'request')} to model {self._options.model!r}, the first with {first.why}; check "
                f"that the questions fit the model, and {OPTIONS}"
            )

    def _known(self, digest: str, kind: type[R]) -> R | Lost | None:
        """Return what is known about a request without sending it."""
        return self._cache.get(digest, kind) or self._refused.get(digest)

    def _work(self, send: Send, kind: type[R], style: Style, asked: Mapping[str, Body]) -> dict[str, R | Lost]:
        """Send requests; if one fails permanently, stop the others before they send more."""
        try:
            # Another process may have sent it meanwhile.
            found = {digest: reply for digest in asked if (reply := self._known(digest, kind))}
            rest = {digest: body for digest, body in asked.items() if digest not in found}
            if len(rest) > 1 and isinstance(replies := self._ask(send, kind, style, rest), list):
                return found | dict(zip(rest, replies, strict=True))
            for digest, body in rest.items():  # the server may refuse one of several, or lists in general
                reply = self._ask(send, kind, style, {digest: body})
                found[digest] = reply if isinstance(reply, Lost) else reply[0]
            return found
        except BaseException:
            self._stopped.set()
            raise

    def _ask(self, send: Send, kind: type[R], style: Style, asked: Mapping[str, Body]) -> list[R] | Lost:
        """Return the replies to one request, which may have several prompts."""
        body = as_one(list(asked.values()))
        digest = hashlib.sha256(" ".join(asked).encode()).hexdigest() if len(asked) > 1 else next(iter(asked))
        # A text never has more tokens than bytes; a server's own template adds a few.
        size = len(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
        most = Tokens(size, self._options.max_new_tokens * len(asked))
        content = json.dumps(body).encode()
        attempt = 0
        while True:
            self._sleep(self._pacer.delay())
            self._reserve(most)
            spent = Tokens()
            try:
                outcome = self._outcome(send(PATHS[style], content, digest), kind, len(asked))
                if isinstance(outcome, list):
                    spent = _spent(outcome, most)
                    for each, reply in zip(asked, outcome, strict=True):
                        self._keep(each, reply)
                    return outcome
                spent = most if isinstance(outcome, Fault) and outcome.paid else Tokens()
            finally:
                self.meter.settle(most, spent)
            if isinstance(outcome, Lost):
                if len(asked) == 1:
                    self._refused[digest] = outcome
                return outcome
            wait = back_off(attempt, outcome.wait, digest)
            attempt += 1
            if attempt > self._options.retries or wait > PATIENCE:
                asks = f" (it asks to wait {wait:.0f} s)" if outcome.wait else ""
                tried = f"attempts: {attempt}, the last: {outcome.what}{asks}"
                if not outcome.busy and wait <= PATIENCE:
                    return Lost(f"no answer; {tried}", sure=False, failed=True)
                raise ApiError(
                    f"model.api: {self._options.base_url} does not answer for model {self._options.model!r}; {tried}. "
                    f"{self._kept()}"
                )
            self._sleep(wait)

    def _outcome(self, response: Response | Fault, kind: type[R], count: int) -> list[R] | Lost | Fault:
        """Return the outcome of a response. Raises InputError or ApiError for a permanent failure."""
        if isinstance(response, Fault):
            return response
        status, text = response.status, response.text
        data = _parsed(text)
        if data and is_stream(text):
            text = json.dumps(data)
        if 200 <= status < 300 and isinstance(data, dict) and data.get("error") and not data.get("choices"):
            code = data["error"].get("code") if isinstance(data["error"], dict) else None
            status = code if type(code) is int and 400 <= code < 600 else 500
        if 200 <= status < 300 and not is_page(text):
            try:
                replies = [kind.read(each, self._transport.clear) for each in apart(data, count)]
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                if count > 1:
                    return Lost("an answer that is not of the expected form", sure=False)
                return Fault(f"an answer that is cut off or not of the expected form: {words(text)}", paid=True)
            self._replies[kind] += count
            return replies
        failure = read_failure(status, response.headers, text, now=time.time(), variable=self._options.key_variable)
        if isinstance(failure, Stop):
            raise self._stop(failure)
        return failure

    def _stop(self, failure: Stop) -> InputError | ApiError:
        options = self._options
        refused = f"model.api: {options.base_url} refuses model {options.model!r} with {failure.what}; "
        if failure.spent:
            return ApiError(f"{refused}the account or its quota has nothing left; top it up. {self._kept()}")
        return InputError(f"{refused}check {failure.check}" + (f". {self._kept()}" if self._replies.total() else ""))

    def _keep(self, digest: str, reply: Usage) -> None:
        try:
            self._cache.put(digest, reply)
        except OSError as error:
            raise ApiError(
                f"model.api.cache: an answer that was paid for cannot be written to {str(self._cache.folder)!r}: "
                f"{error.strerror}; free some space there, or name another folder"
            ) from None

    def _reserve(self, most: Tokens) -> None:
        try:
            self.meter.reserve(most)
        except ApiError as error:
            raise ApiError(f"{error}. {self._kept()}, with a larger budget") from None

    def _kept(self) -> str:
        return (
            f"All answers so far are kept in {str(self._cache.folder)!r} and will not be requested again: run it again"
        )

    def _sleep(self, seconds: float) -> None:
        """Wait. Raises CancelledError if another request has failed permanently."""
        if self._stopped.wait(seconds) if seconds > 0 else self._stopped.is_set():
            raise CancelledError


def _parsed(text: str) -> Any:
    """Return the value of a JSON text or of a stream of its parts; None if the text is neither."""
    if is_stream(text):
        return joined(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _spent(replies: Sequence[Usage], most: Tokens) -> Tokens:
    """Return the tokens that the replies to a request took; if the server does not say, an upper bound."""
    read, written = ([getattr(each, name) for each in replies] for name in ("input_tokens", "output_tokens"))
    return Tokens(
        most.input if None in read else sum(read),
        most.output if None in written else sum(written),
    )
