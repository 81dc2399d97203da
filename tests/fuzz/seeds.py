"""Sound replies of every kind, as Flower's bytes, and the guard that they are sent to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import Federation, federation, make
from flwr.app import Message
from flwr.common.serde import message_to_proto

from lada.allocators.base import ALLOCATORS
from lada.core.limits import Limits
from lada.core.results import PartyInfo
from lada.federation.grid import LocalGrid
from lada.federation.messages import MESSAGE_TYPE, SERVER, Envelope, encode
from lada.federation.pieces import SIZES
from lada.objectives.base import OBJECTIVES
from lada.rounds.checks import FINISH, Guard
from lada.rounds.knowledge import KnowledgeKind
from lada.rounds.reports import report_payload

CLIENT, RUN, K = "a", "r", 3
LIMITS = Limits(
    reply_bytes=1 << 20,
    table_bytes=1 << 20,
    sample_bytes=1 << 18,
    adapter_bytes=1 << 20,
    report_bytes=1 << 18,
    path_chars=500,
)
"""Small, so that what is too much is found soon."""


@dataclass(frozen=True)
class Seed:
    """One sound reply of client a in round 1, and the guard that checks it."""

    guard: Guard
    phase: str
    payload: dict[str, bytes]

    @property
    def expected(self) -> Envelope:
        """The envelope of the message that this answers."""
        return Envelope(RUN, self.phase, 1, SERVER)

    def wire(self, payload: dict[str, bytes]) -> bytes:
        """Return a reply with another payload as the bytes that Flower carries."""
        records = encode(Envelope(RUN, self.phase, 1, CLIENT), payload)
        return message_to_proto(Message(records, 2, MESSAGE_TYPE, group_id="1")).SerializeToString()


def _federation(folder: Path, kind: KnowledgeKind, averages: bool) -> Federation:
    soft: Any = make(OBJECTIVES, "soft_targets", k=K) if kind == "labels" else "sft"
    options = {"knowledge": kind, "average_adapters": averages}
    knows = {"llm": {0, 1}, "a": {1, 2}, "b": {2, 3}}
    allocator: Any = "dual_min_ce" if kind == "labels" else make(ALLOCATORS, "lada")
    both = federation(folder, "fedmkt", knows, options, allocator=allocator, objective=soft)
    for party in (both.server, *both.clients.values()):
        party.limits = LIMITS
    return both


def _secure(folder: Path) -> Federation:
    options = {"secure_aggregation": True, "malicious": 0, "clip": None}
    both = federation(folder, "fedavg", {"llm": set(), "a": {1}, "b": {2}, "c": {3}}, options)
    for party in (both.server, *both.clients.values()):
        party.limits = LIMITS
    return both


def seeds(folder: Path) -> list[Seed]:
    """Return sound replies that have every kind between them; `folder` takes what the parties write."""
    LocalGrid([CLIENT], lambda name, data: None)  # type: ignore[arg-type, return-value] # an identity for this process
    found: list[Seed] = []
    kinds: tuple[tuple[KnowledgeKind, bool], ...] = (("paths", False), ("labels", False), ("paths", True))
    for both in (*(_federation(folder, kind, averages) for kind, averages in kinds), _secure(folder)):
        guard = Guard(both.host, both.server)
        both.run(0, 1)
        found += [
            Seed(guard, sent.phase, sent.payload)
            for sent in both.exchange.sent
            if sent.sender == CLIENT and sent.round == 1
        ]
        client = both.clients[CLIENT]
        info = PartyInfo(
            name=CLIENT,
            role="client",
            model="zoo:tiny",
            architecture="llama",
            parameters=10,
            domains=("farm",),
            private_samples=4,
            weights="0" * 64,
        )
        client.note(parties=(info,), notices=("round 1: nothing new",))
        found.append(Seed(guard, FINISH, dict(report_payload(client))))
    found.append(Seed(found[0].guard, found[0].phase, {SIZES: b'{"paths": 10, "metrics": 20, "times": 30}'}))
    return found
