"""The client's half: a Flower ClientApp that lets one node answer. How the node is made is the caller's business."""

from __future__ import annotations

import secrets
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any, Protocol

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from lada.core.errors import InputError
from lada.core.shown import in_one_line, shown
from lada.federation import cause
from lada.federation.messages import ACTION, HELLO, Code, Envelope, decode, encode
from lada.federation.pieces import BYTES, FETCH, What, announce, decode_what

if TYPE_CHECKING:  # the contracts import torch, which a worker that has no model need not pay for
    from lada.hosts.party import Emit

ERROR_LOG = "errors.log"


class ClientNode(Protocol):
    """What answers for one client."""

    def handle(self, phase: str, round: int, payload: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Run the client half of one phase. Whatever it raises stays here; the server sees a code."""
        ...

    def fetch(self, round: int, what: What) -> bytes:
        """Return a piece of the last reply, which was too large for one message."""
        ...


def _ignore(event: dict[str, Any]) -> None:
    """An Emit that drops the event."""


def by_node_config(context: Context) -> tuple[str, Path]:
    """Return `name` and `folder` of the node's configuration. Raises InputError where one is missing."""
    return _text(context, "name"), Path(_text(context, "folder"))


def make_client_app(
    open_node: Callable[[Context, str, Emit], ClientNode],
    emit: Emit = _ignore,
    *,
    identify: Callable[[Context], tuple[str, Path]] = by_node_config,
    limit: Callable[[], int | None] = lambda: None,
) -> ClientApp:
    """Return the ClientApp. For each message it opens the node anew, given the name of the run that the message is of.

    Keeping models loaded is up to `open_node`. `identify` returns the client's name and the folder where it keeps what
    is its own; `limit` the most bytes that it takes in one message. An exception is written to `errors.log` in that
    folder under a reference number; the reply carries that number and a code, nothing else. One that can be mended lies
    beside it, see lada.federation.cause.
    """
    app = ClientApp()

    @app.query(ACTION)
    def answer(message: Message, context: Context) -> Message:
        began = time.monotonic()
        name, folder = identify(context)
        asked = Envelope("unknown", "unknown", 0, name)
        code = Code.MALFORMED
        try:
            envelope, payload = decode(message.content, limit())
            asked = Envelope(envelope.run, envelope.phase, envelope.round, name)
            code = Code.FAILED
            reply = {}
            if asked.phase != HELLO or payload:  # a hello without terms asks for the name alone
                node = open_node(context, asked.run, emit)
                if asked.phase == FETCH:
                    reply = {BYTES: node.fetch(asked.round, decode_what(payload))}
                else:
                    reply = announce(node.handle(asked.phase, asked.round, payload))
            answered = replace(asked, seconds=time.monotonic() - began)
            return Message(encode(answered, reply), reply_to=message)
        except Exception as error:
            reference = secrets.token_hex(4)
            with suppress(OSError):  # a full disk must not turn the cause into a text that Flower would send
                _log(folder, asked, reference, traceback.format_exc())
                cause.leave(folder, reference, error)
            failed = Envelope(asked.run, asked.phase, asked.round, name, code, reference)
            return Message(encode(failed, {}), reply_to=message)

    return app


def _text(context: Context, key: str) -> str:
    value = context.node_config.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"node_config.{key}: expected a text; start the node with name and folder in its node config")
    return value


def _log(folder: Path, asked: Envelope, reference: str, trace: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ERROR_LOG).open("a", encoding="utf-8") as log:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        head = f"{now} reference {reference}, run {asked.run}, round {asked.round}, phase {asked.phase}"
        log.write(f"{in_one_line(head)}\n{indent(shown(trace), '  ')}\n")
