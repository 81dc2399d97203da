"""Asks an OpenAI-compatible server: several requests at once, again where a failure may pass, no answer twice."""

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
"""Seconds before a request is repeated for the first time, before jitter; they double with each further time."""
LONGEST_WAIT = 60.0
"""The most that doubling leads to. A server that names its own wait with Retry-After is given it in full …"""
PATIENCE = 600.0
"""… unless it is longer than this, seconds: then the run ends, and may be started anew when the server is ready."""
REFUSED = 64
"""Requests that may be refused, none having been answered, before that is no longer put down to the questions; and
requests that may fail one behind the other where others were answered before."""
FAILED = 8
"""Requests that may fail, none having been answered, before that is no longer put down to the questions."""


def back_off(attempt: int, asked: float | None, *address: str | int) -> float:
    """Return the seconds to wait before repeating: what the server asked for, else doubling with jitter of up to half.

    `attempt` counts from 0; the jitter is drawn from a generator at `address`.
    """
    if asked is not None:
        return asked
    most = min(LONGEST_WAIT, FIRST_WAIT * 2.0**attempt)
    return most * float(generator("back-off", attempt, *address).uniform(0.5, 1))


class ApiClient:
    """Requests to one model of one server. `meter` knows what they took."""

    def __init__(self, options: ApiOptions, folder: Path) -> None:
        """`folder` keeps the answers. Raises InputError where a key is missing or the folder cannot be made."""
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
        """What the server refused, by digest: it is not asked again before the next run."""
        self._replies: Counter[type[Usage]] = Counter()
        """Replies so far of each kind, the cache's too, by which a question's own failure is told from that of all."""
        self._failing: set[str] = set()
        """What failed since the server last answered, by digest."""
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

        Equal requests are sent once. A request that the server refuses, or that keeps failing though the server works,
        is Lost: it has answered others before, in the cache too, or answers them now. In a `trial` each may be Lost.
        Raises InputError for failures of all requests that will not pass; ApiError for those that did not pass, for an
        account that is empty and for a budget that is spent. Whatever arrived by then is in the cache.
        """
        options = self._options
        digests = [digest_of(options.base_url, style, body, options.extra_headers) for body in bodies]
        unique = dict(zip(digests, bodies, strict=True))
        self._stopped.clear()
        # What is known goes first: it says that the server works.
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
                    except CancelledError:  # the future that failed is still to come
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
                    self._server.check()  # of a server that has ended it is known why
                raise
        return [replies[digest] for digest in digests]

    def close(self) -> None:
        """End a server that was started."""
        if self._server is not None:
            self._server.close()

    def take_notices(self) -> tuple[str, ...]:
        """Return what the user should know of a server that was started, since this was last called."""
        return () if self._server is None else self._server.take_notices()

    def _check_lost(self, kind: type[Usage], replies: Mapping[str, Usage | Lost], total: int) -> None:
        """Raise InputError where the server refuses whatever it is asked, ApiError where it answers nothing.

        Neither is any question's fault.
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
        """Return what is known of a request without asking."""
        return self._cache.get(digest, kind) or self._refused.get(digest)

    def _work(self, send: Send, kind: type[R], style: Style, asked: Mapping[str, Body]) -> dict[str, R | Lost]:
        """Ask; where that fails for good, stop the others before they send anything more."""
        try:
            # Another process may have asked meanwhile.
            found = {digest: reply for digest in asked if (reply := self._known(digest, kind))}
            rest = {digest: body for digest, body in asked.items() if digest not in found}
            if len(rest) > 1 and isinstance(replies := self._ask(send, kind, style, rest), list):
                return found | dict(zip(rest, replies, strict=True))
            for digest, body in rest.items():  # one of several may be what the server refuses, or lists are
                reply = self._ask(send, kind, style, {digest: body})
                found[digest] = reply if isinstance(reply, Lost) else reply[0]
            return found
        except BaseException:
            self._stopped.set()
            raise

    def _ask(self, send: Send, kind: type[R], style: Style, asked: Mapping[str, Body]) -> list[R] | Lost:
        """Return the replies to one request, whose prompts may be several."""
        body = as_one(list(asked.values()))
        digest = hashlib.sha256(" ".join(asked).encode()).hexdigest() if len(asked) > 1 else next(iter(asked))
        # No tokenizer makes more tokens of a text than it has bytes; a server's own template adds a few.
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
        """Return what a response comes to. Raises InputError or ApiError for a failure that will not pass."""
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
        """Wait. Raises CancelledError where another request has failed for good."""
        if self._stopped.wait(seconds) if seconds > 0 else self._stopped.is_set():
            raise CancelledError


def _parsed(text: str) -> Any:
    """Return the value that JSON stands for, or a stream of its parts; None for what is neither."""
    if is_stream(text):
        return joined(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _spent(replies: Sequence[Usage], most: Tokens) -> Tokens:
    """Return what the replies to a request took; where the server does not say, what they may have taken."""
    read, written = ([getattr(each, name) for each in replies] for name in ("input_tokens", "output_tokens"))
    return Tokens(
        most.input if None in read else sum(read),
        most.output if None in written else sum(written),
    )
