"""Centralized training: all private data in one place, the upper bound for collaboration.

It keeps nothing private. Each client sends its private samples once. From then on, every SLM and the LLM study the
samples of all clients. It therefore runs only on one machine (`engine: local`), the ledger lists the samples as kind
`samples`, and an audit finds them. An SLM studies as many steps or tokens as a collaborating client does in total. The
LLM studies as many as it would on what clients send.
"""

from collections.abc import Mapping

from lada.codecs.samples import Pooled
from lada.core.registry import Options
from lada.core.terms import Lesson, Sample
from lada.hosts.base import Host
from lada.models.objective import Objective
from lada.rounds.base import Ask, MessageSchema, Payload, Receive, Round, Slot, Step, Turn
from lada.rounds.outline import (
    EVALUATING,
    EVALUATING_SERVER,
    REPORTING,
    evaluating_everybody,
    silent,
    studying,
    studying_both,
)
from lada.rounds.pooling import SAMPLES, receive_samples
from lada.rounds.replies import each
from lada.rounds.steps import gold_lessons
from lada.rounds.wire import write

POOLED = MessageSchema(frozenset({SAMPLES}))
EVERYTHING: Slot[list[Sample]] = Slot("samples of all clients")


class Centralized(Host):
    """All private data in one place, where every model studies it: an upper bound, not a federation."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round. A client that has not replied yet is asked for its samples before any study."""
        if number == 0:
            return evaluating_everybody()
        new = (SAMPLES,) if number == 1 else ()
        return (
            Ask("pool", send=_to_missing),
            Step("client", "pool", None, "private", sends=new, kinds=POOLED, run=_send),
            Receive(),
            silent("server", _keep),
            Step("server", "pool", None, "private", sends=(SAMPLES,), run=_gather),
            Ask("study", POOLED, _to_those_with_samples),
            *studying_both("pooled", _received_lessons),
            studying("server", "pooled", "private", _all_lessons, budget="distil"),
            EVALUATING,
            REPORTING,
            EVALUATING_SERVER,
            Receive(),
        )


def _to_missing(turn: Turn) -> Mapping[str, Payload]:
    return {client: {} for client in turn.exchange.clients if _of(client) not in turn.party.memory}


def _send(turn: Turn) -> None:
    turn.outbox[SAMPLES] = write(turn.party, SAMPLES, Pooled(turn.party.name, turn.round, turn.party.private))


def _keep(turn: Turn) -> None:
    """Keep the samples of the clients that have replied so far, if they are usable."""
    for client in each(
        turn, turn.replies, lambda _, reply: gold_lessons(turn.party, receive_samples(turn.party, reply))
    ):
        turn.party.memory[_of(client)] = turn.replies[client][SAMPLES]


def _gather(turn: Turn) -> None:
    """Combine the samples of all clients that have replied so far, client by client."""
    memory = turn.party.memory
    kept = sorted(key for key in memory if key.startswith(_of("")))
    turn[EVERYTHING] = [sample for key in kept for sample in receive_samples(turn.party, {SAMPLES: memory[key]})]
    turn.outbox[SAMPLES] = write(turn.party, SAMPLES, Pooled(turn.party.name, turn.round, tuple(turn[EVERYTHING])))


def _to_those_with_samples(turn: Turn) -> Mapping[str, Payload]:
    there = [client for client in turn.exchange.clients if _of(client) in turn.party.memory]
    return dict.fromkeys(there, turn.outbox)


def _received_lessons(turn: Turn) -> list[Lesson]:
    return gold_lessons(turn.party, receive_samples(turn.party, turn.received))


def _all_lessons(turn: Turn) -> list[Lesson]:
    return gold_lessons(turn.party, turn[EVERYTHING])


def _of(client: str) -> str:
    """Return the key under which the server keeps a client's samples."""
    return f"{SAMPLES} {client}"
