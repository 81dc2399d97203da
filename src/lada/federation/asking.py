"""Asks nodes over a Flower Grid and distinguishes the outcomes: replies, refusals, silence, death."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from flwr.app import Message

from lada.federation.admission import read_reply
from lada.federation.failures import Failure, Reply
from lada.federation.messages import MESSAGE_TYPE, Code, Envelope, encode
from lada.federation.timing import Clock

if TYPE_CHECKING:
    from flwr.serverapp import Grid

K = TypeVar("K", str, int)
ATTEMPTS = 3
"""How often a message is sent to a client that dies over it. Repeating is safe: a client answers each message once."""
LOOK = 2.0
"""Seconds between two checks whether a client that lost contact is back."""
WINDOW = 64
"""The most messages of one ask that are in transit at a time."""


def post(grid: Grid, node: int, envelope: Envelope, payload: Mapping[str, bytes]) -> str | None:
    """Send one message; return its id, or None if Flower did not accept it."""
    message = Message(encode(envelope, payload), node, MESSAGE_TYPE, group_id=str(envelope.round))
    return next(iter(grid.push_messages([message])), None) or None


class Asking(Generic[K]):
    """One message to each of several clients, with a limited number in transit at a time.

    Replies are identified by the message that they answer, since Flower itself answers for nodes that it lost. A reply
    after its client's deadline is ignored.
    """

    def __init__(
        self,
        grid: Grid,
        keys: Iterable[K],
        expected: Envelope,
        *,
        send: Callable[[K], str | None],
        seconds: Callable[[K], float],
        window: int = WINDOW,
        limit: int | None = None,
        clock: Clock | None = None,
        is_back: Callable[[K], bool] | None = None,
        authenticate: Callable[[K, Reply], Failure | None] = lambda *_: None,
        explain: Callable[[K, Failure], Failure] = lambda _, failure: failure,
    ) -> None:
        """Send the first messages. `send` returns a message's id, or None if it was not accepted.

        `seconds` is the time that a client has, from the sending of its message or, if later, from the call of `wait`.
        A reply of more than `limit` bytes is not read. The `clock` stands still while a reply is read, so that no other
        client is late because of it. A client that lost contact gets its message again as soon as it `is_back`, until
        its deadline; without `is_back`, it counts as dead. `authenticate` returns why a reply is not the client's own.
        `explain` receives each failure as it occurs, and may raise.
        """
        self._grid, self._expected, self._send, self._seconds, self._window = grid, expected, send, seconds, window
        self._limit, self._clock, self._is_back = limit, clock or Clock(), is_back
        self._authenticate, self._explain = authenticate, explain
        self._lost: dict[K, float] = {}
        self._queue = deque(keys)
        self._under_way: dict[str, K] = {}
        self._since: dict[K, float] = {}
        self._deaths: Counter[K] = Counter()
        self._failures: dict[K, Failure] = {}
        self._fill()

    def wait(self, receive: Callable[[K, Reply], Failure | None]) -> dict[K, Failure]:
        """Pass each reply to `receive`, which may refuse it, and return the failures, sorted."""
        self._since = dict.fromkeys(self._since, self._clock.now())
        pause = 0.001
        while self._under_way or self._lost:
            messages = list(self._grid.pull_messages(list(self._under_way)))
            with self._clock.halted():
                for message in messages:
                    key = self._under_way.pop(message.metadata.reply_to_message_id, None)
                    if key is not None:
                        self._take(key, message, receive)
            self._drop_late()
            self._find_again()
            self._fill()
            if waited_for := [*self._under_way.values(), *self._lost]:
                time.sleep(pause)
                pause = min(2 * pause, 0.2, *(max(self._left(key), 0.0) for key in waited_for))
        return {key: self._failures[key] for key in sorted(self._failures)}

    def _take(self, key: K, message: Message, receive: Callable[[K, Reply], Failure | None]) -> None:
        outcome = read_reply(message, self._expected, self._limit, partial(self._authenticate, key))
        if not isinstance(outcome, Failure):
            outcome = receive(key, outcome)
        elif outcome.code is Code.LOST and self._is_back:
            self._lost[key] = self._clock.now() + LOOK
            return
        elif outcome.code in (Code.DIED, Code.LOST):
            self._deaths[key] += 1
            if self._deaths[key] < ATTEMPTS:
                self._queue.appendleft(key)
                return
        if outcome is not None:
            self._failures[key] = self._explain(key, outcome)

    def _drop_late(self) -> None:
        for message_id, key in list(self._under_way.items()):
            if self._left(key) <= 0:
                del self._under_way[message_id]
                self._failures[key] = Failure(Code.SILENT, f"{self._seconds(key):g}")
        for key in [key for key in self._lost if self._left(key) <= 0]:
            del self._lost[key]
            self._failures[key] = Failure(Code.LOST, f"{self._seconds(key):g}")

    def _find_again(self) -> None:
        now = self._clock.now()
        for key in [key for key, due in self._lost.items() if due <= now]:
            if self._is_back and self._is_back(key):
                del self._lost[key]
                self._queue.append(key)
            else:
                self._lost[key] = now + LOOK

    def _left(self, key: K) -> float:
        return self._since[key] + self._seconds(key) - self._clock.now()

    def _fill(self) -> None:
        while self._queue and len(self._under_way) < self._window:
            key = self._queue.popleft()
            message_id = self._send(key)
            self._since.setdefault(key, self._clock.now())
            if message_id is None:
                self._failures[key] = Failure(Code.ENGINE)
            else:
                self._under_way[message_id] = key
