"""The phases of secure aggregation as steps of a round; see lada.rounds.secure."""

from collections.abc import Iterator

from lada.rounds.averaging import ADAPTER, started_from
from lada.rounds.base import Ask, MessageSchema, Phase, Round, Step, Turn, to_nobody
from lada.rounds.outline import NEWEST, silent, take_sent
from lada.rounds.secure import KEYS, MASKED, PHASES, check_enough
from lada.rounds.secure_client import advertise, masked_reply
from lada.rounds.secure_server import average_masked


def _check_enough(turn: Turn) -> None:
    check_enough(len(turn.exchange.clients))


CHECKING_ENOUGH = silent("server", _check_enough)
"""The server raises InputError if a round has too few clients for a sum that hides each of them."""


def _advertise(turn: Turn) -> None:
    turn.outbox |= advertise(turn.party)


ADVERTISING = Step("client", kinds=MessageSchema(frozenset({KEYS})), run=_advertise)
"""A client sends public keys instead of its adapter."""


def averaging_masked(update_norm: float) -> Round:
    """Return the steps from the clients' keys to the average, which is sent to the clients that stayed to the end.

    The server asks in these phases separately (`average_masked`), since any of them may leave a round without an
    average.
    """
    phases = [each for name, messages in PHASES.items() for each in _phase(name, messages, update_norm)]
    return (*phases, Step("server", "average", None, "private", sends=(ADAPTER,), run=_average))


def _phase(name: str, messages: Phase, update_norm: float) -> Iterator[Step | Ask]:
    def run(turn: Turn) -> None:
        turn.outbox |= masked_reply(name, turn.party, turn.round, turn.received, update_norm)

    yield Ask(name, messages.asks, to_nobody)
    if MASKED in messages.replies.required:
        yield Step("client", "average", None, "private", sends=(MASKED,), kinds=messages.replies, run=run)
    else:
        yield Step("client", kinds=messages.replies, run=run)


def _average(turn: Turn) -> None:
    newest, clients = average_masked(turn.party, turn.exchange, turn.round, turn.replies)
    turn[NEWEST], turn.replies = newest, {client: turn.replies[client] for client in clients}
    if newest is not None:
        turn.outbox[ADAPTER] = newest


def take_and_start(turn: Turn) -> None:
    """Let a client continue with the average, if there is one, and remember it as the client's start."""
    take_sent(turn)
    if ADAPTER in turn.received:
        started_from(turn.party, turn.party.learner.adapter())
