"""Decides whether a client's reply may be used: from Flower's bytes to a completely checked payload."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flwr.app import Message

from lada.core.errors import FederationError, LadaError
from lada.core.known import Known
from lada.federation.failures import Failure, Reply
from lada.federation.messages import Code, Envelope, decode
from lada.federation.pieces import PIECE, announced
from lada.rounds.checks import Guard, check_kinds

if TYPE_CHECKING:
    from lada.rounds.base import Payload

# Flower's codes for "the client's process crashed" and, in a simulation, "the actor died" (where 0 means anything but
# an exception of the client's app). Then the codes for "the message is gone" and "heartbeat lost".
CODES = {8: Code.DIED, 0: Code.DIED, 3: Code.LOST, 5: Code.LOST}


def read_reply(
    message: Message,
    expected: Envelope,
    limit: int | None = None,
    authenticate: Callable[[Reply], Failure | None] = lambda _: None,
) -> Reply | Failure:
    """Return envelope and payload of a reply to our message with the envelope `expected`, or a Failure.

    A reply of more than `limit` bytes is not decoded. A reply for which `authenticate` returns a failure is not
    believed.
    """
    if message.has_error():  # the reason is foreign text and may hold anything, so it is not repeated
        return Failure(CODES.get(message.error.code, Code.ENGINE))
    try:
        envelope, payload = decode(message.content, limit)
    except FederationError as error:
        return Failure(Code.MALFORMED, str(error))
    reply = envelope, Known(payload)
    if forged := authenticate(reply):
        return forged
    if envelope.code is not None:
        unread = "it could not read ours; reference " if envelope.code is Code.MALFORMED else ""
        return Failure(envelope.code, f"{unread}{envelope.reference}", envelope.sender)
    if (envelope.run, envelope.phase, envelope.round) != (expected.run, expected.phase, expected.round):
        why = (
            "it answers for another run, phase or round, as a replay would; if that continues, give the client a new "
            "key"
        )
        return Failure(Code.MALFORMED, why)
    return reply


def admit(guard: Guard | None, name: str, reply: Reply, reply_bytes: int) -> dict[str, int] | Failure | None:
    """Return why a client's reply must not be used, or the bytes of each kind of a reply that must be fetched, or None.

    A reply of at most `reply_bytes` may be announced; a reply in one message has at most PIECE bytes.
    """
    envelope, payload = reply
    if envelope.sender != name:
        return Failure(Code.MALFORMED, "it gives another client's name as its own")
    try:
        sizes = announced(payload, reply_bytes)
        if sizes is not None and guard:
            check_kinds(sizes, guard.phase(envelope.phase, envelope.round).replies)
    except FederationError as error:
        return Failure(Code.MALFORMED, str(error))
    if sizes is not None:
        return sizes
    if sum(map(len, payload.values())) > PIECE:
        return Failure(Code.MALFORMED, f"more than the {PIECE} bytes that go into one message")
    return fault(guard, name, envelope, payload)


def fault(guard: Guard | None, name: str, envelope: Envelope, payload: Payload) -> Failure | None:
    """Return why a client's payload must not be used; None if it may. Without a guard, any payload may."""
    try:
        if guard:
            guard.check_reply(name, envelope.phase, envelope.round, payload)
    except LadaError as error:
        return Failure(Code.MALFORMED, str(error))
    except Exception as error:  # a check that foreign data can break must not end the run
        return Failure(Code.MALFORMED, f"checking it failed with {type(error).__name__}")
    return None
