"""Clients with one model make one adapter of theirs: as FedMKT does in its homogeneous setting, and FedIT always.

The factors A and B are averaged apart, weighed by private samples. That is not the average of the products BA; it is
what FedMKT does.
"""

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lada.codecs import adapters
from lada.core.errors import FederationError, InputError
from lada.core.results import Missing
from lada.hosts.aggregating import Rule, Weights, aggregate
from lada.hosts.base import Payload
from lada.hosts.merging import merge_in_range
from lada.hosts.party import Party
from lada.models.options import ModelOptions

ADAPTER = "adapter"
HOLD = "hold the newest adapter"
"""In the server's memory: the clients that went on with the newest adapter."""
SHAPE = "adapter shape"
"""In the server's memory: names and shapes of what it averages."""
MOST_SAMPLES = 10**9 - 1
"""What the codec can say of the samples behind an adapter; clients may claim more between them."""
Merge = Callable[[Mapping[str, Weights], Mapping[str, int]], Weights]
"""Makes one adapter of those by client, given the private samples behind each."""
Outline = Callable[[Weights], Hashable]
"""Says of an adapter what those that go together have in common; None for one that goes with no other."""


def check_alike(clients: Mapping[str, ModelOptions], key: str, *, full: bool = False, ranks: bool = False) -> None:
    """Raise InputError, for the sake of `key`, unless all clients tune the same weights of the same model.

    `full`: these may be all of its weights. `ranks`: their adapters may differ in all but the layers.
    """
    first, *others = clients
    if clients[first].tune != "lora" and not full:
        raise InputError(f"{key}: client {first!r} has model.tune {clients[first].tune!r}; expected 'lora'")
    mine = _tuned(clients[first], ranks)
    for other in others:
        for name, value in _tuned(clients[other], ranks).items():
            if mine.get(name) != value:
                raise InputError(
                    f"{key}: clients {first!r} and {other!r} differ in model.{name}: {mine.get(name)!r} and {value!r}; "
                    "expected the same for all clients"
                )


def _tuned(options: ModelOptions, ranks: bool) -> dict[str, Any]:
    """Return what must be the same for all clients, by key, the model first."""
    alike = {"model": options.model, "revision": options.revision, "tune": options.tune}
    if options.tune == "full":
        return alike
    return {**alike, **({"lora.targets": options.lora.targets} if ranks else {"lora": options.lora})}


def tell_adapter(party: Party) -> bytes:
    """Return a client's adapter with the number of private samples behind it."""
    return adapters.encode(party.learner.adapter(), len(party.private))


def check_adapter(party: Party, _sender: str, _round: int, payload: Payload) -> None:
    """Raise CodecError unless `payload` holds an adapter."""
    adapters.decode(payload[ADAPTER], limit=party.limits.adapter_bytes)


def shapes(weights: Weights) -> Hashable:
    """Return names and shapes of an adapter's weights."""
    return tuple((name, array.shape) for name, array in weights.items())


def fix_outline(party: Party, own: Weights) -> None:
    """Let adapters have names and shapes as a server's `own` has them, whatever most clients send."""
    party.memory[SHAPE] = json.dumps(shapes(own)).encode()


def mean_of(rule: Rule, malicious: int) -> Merge:
    """Return what makes one adapter of several by a rule; see lada.hosts.aggregating."""
    return lambda weights, samples: aggregate(weights, samples, rule, malicious)


@dataclass(frozen=True, slots=True)
class Pooled:
    """One adapter made of several, float32; what the clients told that go on with it; the samples behind all."""

    weights: Weights
    told: Mapping[str, Weights]
    samples: int

    def encode(self, weights: Weights) -> bytes:
        """Return this adapter, or what was made of it, as a message part."""
        return adapters.encode(weights, self.samples)


def pool(party: Party, replies: Mapping[str, Payload], round: int, merge: Merge, outline: Outline = shapes) -> Pooled:
    """Return what `merge` makes of the adapters in `replies`.

    A client whose adapter has another outline than those of the first time or, the first time, than most others' is
    left out and put on record as missing. Raises CodecError for what is no adapter, FederationError where nobody's
    fits or no outline is that of most.
    """
    told = {c: adapters.decode(replies[c][ADAPTER], limit=party.limits.adapter_bytes) for c in sorted(replies)}
    outlines = {client: outline(weights) for client, (weights, _) in told.items()}
    if set(outlines.values()) == {None}:
        raise FederationError("adapters: those of all clients are no pairs of LoRA's factors")
    known = {client: json.dumps(each).encode() for client, each in outlines.items() if each is not None}
    common = party.memory[SHAPE] = party.memory.get(SHAPE) or _of_most(known)
    odd = [client for client in told if known.get(client) != common]
    if len(odd) == len(told):
        raise FederationError(
            f"adapters: those of {', '.join(map(repr, odd))} have other names or shapes than those of earlier rounds; "
            "let these clients go on with the model and model.lora that they began with"
        )
    why = "malformed message (adapter: other names or shapes than those of the other clients)"
    party.note(missing=tuple(Missing(party=client, round=round, phase="average", why=why) for client in odd))
    weights = {client: told[client][0] for client in told if client not in odd}
    samples = {client: told[client][1] for client in weights}
    result, extreme = merge_in_range(merge, weights, samples)
    why = "malformed message (adapter: numbers so large that none made of it can be told)"
    party.note(missing=tuple(Missing(party=client, round=round, phase="average", why=why) for client in extreme))
    for client in extreme:
        del weights[client], samples[client]
    return Pooled(result, weights, min(sum(samples.values()), MOST_SAMPLES))


def _of_most(outlines: Mapping[str, bytes]) -> bytes:
    """Return the outline that most clients have. Raises FederationError where none is."""
    (common, count), *rest = Counter(outlines.values()).most_common()
    if rest and rest[0][1] == count:
        first, other = (next(c for c in outlines if outlines[c] == each) for each in (common, rest[0][0]))
        raise FederationError(
            f"adapters: those of {other!r} have other names or shapes than those of {first!r}, and which are right "
            "nobody can say; give both clients one model and one model.lora"
        )
    return common


def average_adapters(
    party: Party, replies: Mapping[str, Payload], round: int, rule: Rule = "mean", malicious: int = 0
) -> tuple[bytes, list[str]]:
    """Return one adapter of those in `replies` (see lada.hosts.aggregating), and the clients that go on with it.

    Raises as `pool` does.
    """
    pooled = pool(party, replies, round, mean_of(rule, malicious))
    return pooled.encode(pooled.weights), list(pooled.told)


def catch_up(party: Party, clients: Iterable[str]) -> dict[str, Payload]:
    """Return what each client is sent before it studies: the newest adapter there is, unless it went on with that."""
    newest = {ADAPTER: party.memory[ADAPTER]} if ADAPTER in party.memory else {}
    hold = json.loads(party.memory.get(HOLD, b"[]"))
    return {client: {} if client in hold else newest for client in clients}


def handed_out(party: Party, newest: bytes, clients: Iterable[str]) -> None:
    """Keep the newest adapter, and which clients went on with it."""
    party.memory |= {ADAPTER: newest, HOLD: json.dumps(list(clients)).encode()}


def take_adapter(party: Party, data: bytes) -> None:
    """Let a client go on with the average."""
    weights, _ = adapters.decode(data, limit=party.limits.adapter_bytes)
    party.learner.load_adapter(weights)
