"""Ask nodes over a Flower Grid and tell apart what comes back: replies, refusals, silence, death."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from flwr.app import Message

from lada.core.errors import FederationError
from lada.federation.messages import MESSAGE_TYPE, Code, Envelope, decode, encode

if TYPE_CHECKING:
    from flwr.serverapp import Grid

T = TypeVar("T", str, int)
Reply = tuple[Envelope, dict[str, bytes]]

# Flower's codes for "heartbeat lost" and "the client's process crashed".
LOST = (5, 8)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no usable reply; `detail` is the server's own text or the client's reference number.

    `sender` is who says so, where it is the client itself.
    """

    code: Code
    detail: str = ""
    sender: str = ""

    def __str__(self) -> str:
        texts = {
            Code.FAILED: f"failed (reference {self.detail} in errors.log in its own folder)",
            Code.MALFORMED: f"malformed message ({self.detail})",
            Code.SILENT: f"silent (no reply within {self.detail} s)",
            Code.DIED: "died (its process ended or lost contact)",
            Code.ABSENT: "absent (no node of that name is connected)",
            Code.ENGINE: "engine error (Flower could not deliver the message or its reply)",
        }
        return texts[self.code]


def post(grid: Grid, node: int, envelope: Envelope, payload: Mapping[str, bytes]) -> str | None:
    """Send one message; return its id, or None where Flower did not take it."""
    message = Message(encode(envelope, payload), node, MESSAGE_TYPE, group_id=str(envelope.round))
    return next(iter(grid.push_messages([message])), None)


def collect(
    grid: Grid,
    asked: Mapping[T, str | None],
    expected: Envelope,
    timeouts: Mapping[T, float],
    *,
    again: Callable[[T], str | None] | None = None,
    heard: Callable[[T, Reply], Failure | None] | None = None,
    limit: int | None = None,
) -> tuple[dict[T, Reply], dict[T, Failure]]:
    """Wait for the replies to messages, given their ids, each for `timeouts` seconds; return replies and failures.

    Replies are told apart by the message they answer, since Flower itself answers for nodes it lost. A reply that
    comes after the deadline is never looked at. `again` sends a message once more to a client that died and returns
    the new id, None to let it be; `heard` sees each reply as it comes and may refuse it; one of more than `limit` bytes
    is malformed. Both results are sorted.
    """
    waiting = {message_id: key for key, message_id in asked.items() if message_id}
    replies: dict[T, Reply] = {}
    failures = {key: Failure(Code.ENGINE) for key, message_id in asked.items() if not message_id}
    start = time.monotonic()
    pause = 0.001
    while waiting:
        for message in grid.pull_messages(list(waiting)):
            key = waiting.pop(message.metadata.reply_to_message_id, None)
            if key is None:
                continue
            outcome = _read(message, expected, limit)
            if isinstance(outcome, Failure):
                new = again(key) if again and outcome.code is Code.DIED else None
                if new:
                    waiting[new] = key
                else:
                    failures[key] = outcome
            elif heard and (refused := heard(key, outcome)):
                failures[key] = refused
            else:
                replies[key] = outcome
        passed = time.monotonic() - start
        for message_id, key in list(waiting.items()):
            if passed >= timeouts[key]:
                del waiting[message_id]
                failures[key] = Failure(Code.SILENT, f"{timeouts[key]:g}")
        if waiting:
            time.sleep(max(0.0, min(pause, *(timeouts[key] - passed for key in waiting.values()))))
            pause = min(2 * pause, 0.2)
    return {key: replies[key] for key in sorted(replies)}, {key: failures[key] for key in sorted(failures)}


def _read(message: Message, expected: Envelope, limit: int | None) -> Reply | Failure:
    if message.has_error():  # its reason is not ours and may hold anything: it is not repeated
        return Failure(Code.DIED if message.error.code in LOST else Code.ENGINE)
    try:
        envelope, payload = decode(message.content, limit)
    except FederationError as error:
        return Failure(Code.MALFORMED, str(error))
    if envelope.code is Code.MALFORMED:
        return Failure(Code.MALFORMED, f"it could not read ours; reference {envelope.reference}", envelope.sender)
    if envelope.code is not None:
        return Failure(envelope.code, envelope.reference or "", envelope.sender)
    if (envelope.run, envelope.phase, envelope.round) != (expected.run, expected.phase, expected.round):
        return Failure(Code.MALFORMED, "it answers for another run, phase or round")
    return envelope, payload
