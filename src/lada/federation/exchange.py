"""How the server's half reaches the clients: lada.hosts.base.Exchange over any Flower Grid."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from lada.core.errors import FederationError
from lada.federation.messages import MESSAGE_TYPE, SERVER, Code, Envelope, decode, encode

if TYPE_CHECKING:
    from lada.federation.ledger import Ledger

T = TypeVar("T", str, int)
Reply = tuple[Envelope, dict[str, bytes]]

# Flower's codes for "heartbeat lost" and "the client's process crashed".
LOST = (5, 8)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no usable reply; `detail` is the server's own text or the client's reference number."""

    code: Code
    detail: str = ""

    def __str__(self) -> str:
        texts = {
            Code.FAILED: f"failed (reference {self.detail} in errors.log in its own folder)",
            Code.MALFORMED: f"malformed message ({self.detail})",
            Code.SILENT: f"silent (no reply within {self.detail} s)",
            Code.DIED: "died (its process ended or lost contact)",
            Code.ENGINE: "engine error (Flower could not deliver the message or its reply)",
        }
        return texts[self.code]


def post(grid: Grid, node: int, envelope: Envelope, payload: Mapping[str, bytes]) -> str | None:
    """Send one message; return its id, or None where Flower did not take it."""
    message = Message(encode(envelope, payload), node, MESSAGE_TYPE, group_id=str(envelope.round))
    return next(iter(grid.push_messages([message])), None)


def collect(
    grid: Grid, asked: Mapping[T, str | None], expected: Envelope, timeout: float
) -> tuple[dict[T, Reply], dict[T, Failure]]:
    """Wait at most `timeout` seconds for the replies to messages, given their ids; return replies and failures.

    Replies are told apart by the message they answer, since Flower itself answers for nodes it lost. A reply that
    comes after the deadline is never looked at. Both results are sorted.
    """
    waiting = {message_id: key for key, message_id in asked.items() if message_id}
    replies: dict[T, Reply] = {}
    failures = {key: Failure(Code.ENGINE) for key, message_id in asked.items() if not message_id}
    deadline = time.monotonic() + timeout
    pause = 0.001
    while waiting:
        for message in grid.pull_messages(list(waiting)):
            key = waiting.pop(message.metadata.reply_to_message_id, None)
            if key is None:
                continue
            outcome = _read(message, expected)
            if isinstance(outcome, Failure):
                failures[key] = outcome
            else:
                replies[key] = outcome
        if (left := deadline - time.monotonic()) <= 0:
            break
        if waiting:
            time.sleep(min(pause, left))
            pause = min(2 * pause, 0.2)
    failures |= {key: Failure(Code.SILENT, f"{timeout:g}") for key in waiting.values()}
    return {key: replies[key] for key in sorted(replies)}, {key: failures[key] for key in sorted(failures)}


def _read(message: Message, expected: Envelope) -> Reply | Failure:
    if message.has_error():  # its reason is not ours and may hold anything: it is not repeated
        return Failure(Code.DIED if message.error.code in LOST else Code.ENGINE)
    try:
        envelope, payload = decode(message.content)
    except FederationError as error:
        return Failure(Code.MALFORMED, str(error))
    if envelope.code is Code.MALFORMED:
        return Failure(Code.MALFORMED, f"it could not read ours; reference {envelope.reference}")
    if envelope.code is not None:
        return Failure(envelope.code, envelope.reference or "")
    if (envelope.run, envelope.phase, envelope.round) != (expected.run, expected.phase, expected.round):
        return Failure(Code.MALFORMED, "it answers for another run, phase or round")
    return envelope, payload


def refuse(expected: Envelope, failures: Mapping[T, Failure]) -> None:
    """Raise FederationError naming every failure; return where there is none."""
    if failures:
        told = "; ".join(f"client {key!r}: {failure}" for key, failure in failures.items())
        raise FederationError(f"round {expected.round}, phase {expected.phase}: {told}")


class GridExchange:
    """The clients by name, over a grid. `timeout`, seconds, counts from the moment the server begins to wait."""

    def __init__(self, grid: Grid, nodes: Mapping[str, int], *, run: str, timeout: float, ledger: Ledger) -> None:
        """`nodes` gives the node id of each client."""
        self.clients = tuple(sorted(nodes))
        self._grid = grid
        self._nodes = dict(nodes)
        self._run = run
        self._timeout = timeout
        self._ledger = ledger

    def ask(self, phase: str, round: int, payloads: Mapping[str, Mapping[str, bytes]]) -> GridPending:
        """Send one message to each client named in `payloads`. Raises FederationError for a name nobody has."""
        if unknown := sorted(set(payloads) - set(self.clients)):
            raise FederationError(f"round {round}, phase {phase}: no client is named {unknown[0]!r}")
        envelope = Envelope(self._run, phase, round, SERVER)
        asked: dict[str, str | None] = {}
        for name in sorted(payloads):
            asked[name] = post(self._grid, self._nodes[name], envelope, payloads[name])
            self._ledger.record(round, phase, SERVER, name, payloads[name])
        return GridPending(self._grid, asked, envelope, self._timeout, self._ledger)


class GridPending:
    """Messages that are under way."""

    def __init__(
        self, grid: Grid, asked: Mapping[str, str | None], envelope: Envelope, timeout: float, ledger: Ledger
    ) -> None:
        """`asked` gives the message id by client name, `envelope` what was asked."""
        self._grid, self._asked, self._envelope, self._timeout, self._ledger = grid, asked, envelope, timeout, ledger

    def wait(self) -> dict[str, Mapping[str, bytes]]:
        """Return the replies by client name, sorted; to be called once.

        Every client gets until the deadline, also where another has failed, so that no work is thrown away and one
        FederationError names all that failed or stayed silent.
        """
        replies, failures = collect(self._grid, self._asked, self._envelope, self._timeout)
        for name, (envelope, payload) in replies.items():
            if envelope.sender != name:
                failures[name] = Failure(Code.MALFORMED, "it gives another client's name as its own")
            else:
                self._ledger.record(envelope.round, envelope.phase, name, SERVER, payload)
        refuse(self._envelope, failures)
        return {name: payload for name, (_, payload) in replies.items()}
