"""The client's half: a Flower ClientApp that lets one node answer. The caller decides how the node is made."""

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

from lada.core.errors import FederationError, InputError
from lada.core.shown import in_one_line, shown
from lada.federation import cause
from lada.federation.messages import ACTION, HELLO, Code, Envelope, decode, encode
from lada.federation.pieces import BYTES, FETCH, What, announce, decode_what
from lada.federation.seal import Seal

if TYPE_CHECKING:  # the contracts import torch, which a worker without a model does not need
    from lada.rounds.party import Emit

ERROR_LOG = "errors.log"
UNSEALED = (
    "message: the server did not seal it for this client, so another sender uses its name; or identity.pub here is "
    "not the server's, or the server knows this client's key under another name. Nothing was read or changed"
)
"""The log's text for a message that was refused unread."""


class ClientNode(Protocol):
    """Answers for one client."""

    def handle(self, phase: str, round: int, payload: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Run the client half of one phase. Its exceptions stay here; the server sees only a code."""
        ...

    def fetch(self, round: int, what: What) -> bytes:
        """Return a piece of the last reply, which was too large for one message."""
        ...


def _ignore(event: dict[str, Any]) -> None:
    """An Emit that drops the event."""


def by_node_config(context: Context) -> tuple[str, Path]:
    """Return `name` and `folder` of the node's configuration. Raises InputError if one is missing."""
    return _text(context, "name"), Path(_text(context, "folder"))


def make_client_app(
    open_node: Callable[[Context, str, Emit], ClientNode],
    emit: Emit = _ignore,
    *,
    identify: Callable[[Context], tuple[str, Path]] = by_node_config,
    limit: Callable[[], int | None] = lambda: None,
    open_seal: Callable[[], Seal | None] = lambda: None,
) -> ClientApp:
    """Return the ClientApp. For each message, it opens the node for the run of the message.

    `open_node` decides whether models stay loaded. `identify` returns the client's name and its own folder; `limit`
    returns the most bytes that it accepts in one message. With a seal from `open_seal`, messages that the server has
    not sealed for this client are not read, and every reply is sealed. An exception is written to `errors.log` in the
    client's folder under a reference number; the reply carries only this number and a code. An error that the user can
    fix is stored next to it, see lada.federation.cause.
    """
    app = ClientApp()

    @app.query(ACTION)
    def respond(message: Message, context: Context) -> Message:
        began = time.monotonic()
        name, folder = identify(context)
        asked, mac = Envelope("unknown", "unknown", 0, name), ""
        code, seal = Code.MALFORMED, None

        def reply(envelope: Envelope, payload: Mapping[str, bytes]) -> Message:
            sealed = seal.answering(envelope, payload, mac) if seal else envelope
            return Message(encode(sealed, payload), reply_to=message)

        try:
            seal = open_seal()
            envelope, payload = decode(message.content, limit())
            asked, mac = Envelope(envelope.run, envelope.phase, envelope.round, name), envelope.mac or ""
            if seal and not seal.is_asking(envelope, payload):
                raise FederationError(UNSEALED)
            code = Code.FAILED
            answer = {}
            if asked.phase != HELLO or payload:  # a hello without terms asks only for the name
                node = open_node(context, asked.run, emit)
                if asked.phase == FETCH:
                    answer = {BYTES: node.fetch(asked.round, decode_what(payload))}
                else:
                    answer = announce(node.handle(asked.phase, asked.round, payload))
            return reply(replace(asked, seconds=time.monotonic() - began), answer)
        except Exception as error:
            reference = secrets.token_hex(4)
            with suppress(OSError):  # with a full disk, Flower must not send the error's text
                _log(folder, asked, reference, traceback.format_exc())
                cause.leave(folder, reference, error)
            return reply(Envelope(asked.run, asked.phase, asked.round, name, code, reference), {})

    return app


def unsealed(folder: Path) -> int:
    """Return how many messages were refused because the server had not sealed them, from the log in a client's
    folder."""
    log = folder / ERROR_LOG
    return log.read_bytes().count(UNSEALED.encode()) if log.exists() else 0


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
