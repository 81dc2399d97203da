"""Federations whose every reply was recorded, so that a server can be served any of them again, with one changed."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from actors import Federation, ScriptedLearner, federation, make, seen
from flwr.app import Message
from flwr.common.serde import message_to_proto
from seeds import LIMITS, RUN, K
from sharing import sharing

from lada.allocators.base import ALLOCATORS, State
from lada.codecs.judgements import SENT
from lada.core.errors import FederationError
from lada.core.results import Membership, Missing, PartyInfo
from lada.federation.admission import admit, read_reply
from lada.federation.failures import Failure
from lada.federation.grid import LocalGrid, read_message
from lada.federation.messages import MESSAGE_TYPE, SERVER, Envelope, encode
from lada.objectives.base import OBJECTIVES
from lada.rounds.base import Look, Payload
from lada.rounds.checks import FINISH, Guard
from lada.rounds.knowledge import PATHS
from lada.rounds.party import Party
from lada.rounds.reports import report_payload

Key = tuple[str, int, str]
"""Phase, round, client."""
CLIENTS = ("a", "b")
ROUNDS = 2
AGE = 1000.0
"""Seconds since the run began."""
A, B = "m.q.lora_A.default.weight", "m.q.lora_B.default.weight"
SOFT: dict[str, Any] = {"k": K, "form": "forward_kl"}
RULED: dict[str, Any] = {"aggregation": "trimmed_mean"}


@dataclass(frozen=True)
class World:
    """What makes a server, what it remembers before each round, and all that its clients sent in a run."""

    name: str
    make: Callable[[Path], Federation]
    sent: Mapping[Key, dict[str, bytes]]
    before: Mapping[int, tuple[dict[str, bytes], dict[str, State]]]
    """The server's memory and its allocators' states."""

    def server(self, folder: Path, round: int) -> Federation:
        """Return a federation whose server is as it was before a round."""
        both = self.make(folder)
        memory, states = self.before[round]
        both.server.memory, both.server.states = dict(memory), dict(states)
        return both


def wire(key: Key, payload: dict[str, bytes], **envelope: Any) -> bytes:
    """Return a reply as the bytes that Flower carries, with fields of the envelope as they are given."""
    phase, round, client = key
    records = encode(Envelope(RUN, phase, round, client), payload)
    for field, value in envelope.items():
        records.config_records["envelope"][field] = value
    return message_to_proto(Message(records, 2, MESSAGE_TYPE, group_id="1")).SerializeToString()


class Replayed:
    """An exchange that hands out recorded replies, one of them changed, through all that a reply goes through."""

    def __init__(self, world: World, both: Federation, changed: Key, data: bytes) -> None:
        self.clients: tuple[str, ...] = CLIENTS
        self.guard, self._other = Guard(both.host, both.server), Guard(both.host, both.clients["b"])
        self.missing: list[Missing] = []
        self.outcome = "not sent"
        self._world, self._changed, self._data = world, changed, data
        self._left: set[str] = set()

    def ask(self, phase: str, round: int, payloads: Mapping[str, Any]) -> "Pending":
        if "b" in payloads and phase != FINISH:
            if PATHS in (sent := self._world.sent.get(("contribute", round, "b"), {})):
                self._other.party.memory[SENT] = sent[PATHS]  # as it remembers them
            self._other.check_ask("llm", phase, round, payloads["b"])  # what the server sends is sound
        return Pending(self, phase, round, sorted(payloads))

    def drop(self, phase: str, round: int, faults: Mapping[str, str]) -> None:
        """Be half of the clients for a quorum, as by default."""
        self.missing += [Missing(party=name, round=round, phase=phase, why=why) for name, why in faults.items()]
        self.outcome = "dropped" if "a" in faults else self.outcome
        self._left -= faults.keys()
        if not self._left:
            raise FederationError("no quorum")

    def received(self, phase: str, round: int, names: list[str]) -> dict[str, Payload]:
        told: dict[str, Payload] = {}
        for name in names:
            key = phase, round, name
            payload = self._world.sent[key]
            if key == self._changed:
                found = self.admitted(key)
                if isinstance(found, Failure):
                    self.outcome = f"refused: {found}"
                    self.missing.append(Missing(party=name, round=round, phase=phase, why=str(found)))
                    continue
                self.outcome, payload = "accepted", found
            told[name] = payload
        self._left = set(told)
        if not told:
            raise FederationError("no quorum")
        return told

    def admitted(self, key: Key) -> Payload | Failure:
        """Return what the changed reply holds, or why it is refused."""
        reply = read_reply(read_message(self._data), Envelope(RUN, key[0], key[1], SERVER))
        if isinstance(reply, Failure):
            return reply
        outcome = admit(self.guard, key[2], reply, LIMITS.reply_bytes)
        return outcome if isinstance(outcome, Failure) else reply[1]


class Gate:
    """Says of replies whether they are admitted, by servers that are as before and made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: dict[tuple[str, int], Federation] = {}

    def refusal(self, world: World, key: Key, data: bytes) -> Failure | None:
        """Return why a changed reply is refused; None where it is admitted."""
        where = world.name, key[1]
        if where not in self._servers:
            self._servers[where] = world.server(self._folder, key[1])
        both = self._servers[where]
        both.server.memory = dict(world.before[key[1]][0])
        outcome = Replayed(world, both, key, data).admitted(key)
        return outcome if isinstance(outcome, Failure) else None


@dataclass
class Pending:
    exchange: Replayed
    phase: str
    round: int
    names: list[str]

    def wait(self, look: Look | None = None) -> dict[str, Payload]:
        return seen(self.exchange.received(self.phase, self.round, self.names), look)


def worlds(folder: Path, only: str = "") -> list[World]:
    """Return a world for every host and for each way in which a host reads what clients send.

    Of those whose names hold `only`, a regular expression.
    """
    LocalGrid(list(CLIENTS), lambda name, data: None)  # type: ignore[arg-type, return-value] # this process's identity
    lada, ungolded = make(ALLOCATORS, "lada"), make(ALLOCATORS, "lada", gold=False)
    paper = make(ALLOCATORS, "lada_paper", epochs=1)
    soft = make(OBJECTIVES, "soft_targets", **SOFT)
    reverse = make(OBJECTIVES, "soft_targets", k=K, form="reverse_kl", label_weight=0.5)
    kinds: dict[str, Callable[[Path], Federation]] = {
        "fedmkt lada": _plain("fedmkt", {"trust": "agreement"}, allocator=lada),
        "fedmkt teachable": _plain("fedmkt", {"trust": "gain"}, allocator="teachable"),
        "fedmkt ddk": _plain("fedmkt", {"directions": "slm_to_llm"}, allocator="ddk"),
        "fedmkt rho_loss": _plain("fedmkt", {}, allocator="rho_loss", objective="alm"),
        "fedmkt labels": _plain("fedmkt", {"knowledge": "labels"}, allocator="dual_min_ce", objective=soft),
        "fedmkt paper": _plain("fedmkt", {"knowledge": "labels"}, allocator=paper, objective=soft),
        "fedmkt adapters": _plain("fedmkt", {"average_adapters": True}, allocator=ungolded),
        "fedmkt on_policy": _plain("fedmkt", {}, allocator="all", objective="on_policy"),
        "fedmkt distillm2": _plain("fedmkt", {}, allocator="all", objective=make(OBJECTIVES, "distillm2", k=K)),
        "fedmd": _plain("fedmd", {}, allocator="all", objective=soft),
        "ds-fl": _plain("fedmd", {"average": "probabilities", "temperature": 0.1}, allocator="all", objective=soft),
        "fedcot": _plain("fedcot", {}, allocator="all"),
        "fedavg": _plain("fedavg", {}, allocator="all"),
        "fedavg flexlora": _factored("flexlora"),
        "fedavg hetlora": _factored("hetlora"),
        "fedavg trimmed": _plain("fedavg", RULED, allocator="all"),
        "feddf": _sharing("feddf", soft),
        "fedcollm": _sharing("fedcollm", reverse),
        "centralized": _plain("centralized", {}, allocator="all"),
        "standalone": _plain("standalone", {}, allocator="all"),
        "public_sft": _plain("public_sft", {}, allocator="all"),
    }  # fmt: skip
    return [_recorded(name, make, folder / name) for name, make in kinds.items() if re.search(only, name)]


def _plain(host: str, options: dict[str, Any], **more: Any) -> Callable[[Path], Federation]:
    knows = {"llm": {0, 1}, "a": {1, 2}, "b": {2, 3}}
    return lambda folder: _limited(federation(folder, host, knows, options, **more))


def _sharing(host: str, objective: Any) -> Callable[[Path], Federation]:
    return lambda folder: _limited(sharing(folder, host, {}, objective=objective)[0])


def _factored(form: str) -> Callable[[Path], Federation]:
    def made(folder: Path) -> Federation:
        both = _limited(federation(folder, "fedavg", {"llm": set(), "a": set(), "b": set()}, {"form": form}))
        for rank, client in enumerate(CLIENTS, start=1):
            learner: Any = both.clients[client].learner
            weights = {A: np.full((rank, 3), 0.1, np.float32), B: np.full((2, rank), 0.1, np.float32)}
            learner.adapter, learner.load_adapter = lambda weights=weights: weights, lambda weights: None
        return both

    return made


def _limited(both: Federation) -> Federation:
    for party in (both.server, *both.clients.values()):
        party.limits = LIMITS
        party.clock = lambda: AGE
    return both


def _recorded(name: str, make: Callable[[Path], Federation], folder: Path) -> World:
    both = make(folder)
    before = {}
    for round in range(ROUNDS + 1):
        before[round] = dict(both.server.memory), dict(both.server.states)
        both.run(round)
    sent = {(m.phase, m.round, m.sender): m.payload for m in both.exchange.sent if m.receiver == "llm"}
    for client in CLIENTS:
        sent[FINISH, ROUNDS, client] = _last_word(both.clients[client])
    return World(name, make, sent, before)


def _last_word(party: Party) -> dict[str, bytes]:
    info = PartyInfo(
        name=party.name, role="client", model="zoo:tiny", architecture="llama", parameters=10, domains=("farm",),
        private_samples=len(party.private), weights="0" * 64,
    )  # fmt: skip
    membership = Membership(
        party=party.name, round=ROUNDS, attack="gain", auc=0.6, low=0.5, high=0.7, tpr=0.1, members=4, others=3
    )
    assert isinstance(party.learner, ScriptedLearner)
    party.note(parties=(info,), memberships=(membership,), notices=(f"{party.name} is done",))
    return dict(report_payload(party))
