"""Clients with one model average their LoRA adapters, as FedMKT does in its homogeneous setting and FedIT always.

The factors A and B are averaged apart, weighed by private samples. That is not the average of the products BA; it is
what FedMKT does.
"""

import json
from collections import Counter
from collections.abc import Mapping

import numpy as np

from lada.codecs import adapters
from lada.core.errors import FederationError, InputError
from lada.core.results import Missing
from lada.hosts.aggregating import Rule, aggregate
from lada.hosts.base import Payload
from lada.hosts.party import Party
from lada.models.options import ModelOptions

ADAPTER = "adapter"
SHAPE = "adapter shape"
"""In the server's memory: names and shapes of what it averages."""
MOST_SAMPLES = 10**9 - 1
"""What the codec can say of the samples behind an adapter; clients may claim more between them."""


def check_alike(clients: Mapping[str, ModelOptions]) -> None:
    """Raise InputError unless all clients tune the same adapters of the same model."""
    first, *others = clients
    if clients[first].tune != "lora":
        raise InputError(
            f"host.options.average_adapters: client {first!r} has model.tune {clients[first].tune!r}; expected 'lora'"
        )
    for other in others:
        for key in ("model", "revision", "tune", "lora"):
            a, b = getattr(clients[first], key), getattr(clients[other], key)
            if a != b:
                raise InputError(
                    f"host.options.average_adapters: clients {first!r} and {other!r} differ in model.{key}: {a!r} and "
                    f"{b!r}; expected the same for all clients"
                )


def tell_adapter(party: Party) -> bytes:
    """Return a client's adapter with the number of private samples behind it."""
    return adapters.encode(party.learner.adapter(), len(party.private))


def check_adapter(party: Party, _sender: str, _round: int, payload: Payload) -> None:
    """Raise CodecError unless `payload` holds an adapter."""
    adapters.decode(payload[ADAPTER], limit=party.limits.adapter_bytes)


def average_adapters(
    party: Party, replies: Mapping[str, Payload], round: int, rule: Rule = "mean", malicious: int = 0
) -> tuple[bytes, list[str]]:
    """Return one adapter of those in `replies` (see lada.hosts.aggregating), and the clients that go on with it.

    A client whose adapter has other names or shapes than those of the first average or, in the first, than most others'
    is left out and put on record as missing. Raises CodecError for what is no adapter, FederationError where nobody's
    fits or no shape is that of most.
    """
    told = {c: adapters.decode(replies[c][ADAPTER], limit=party.limits.adapter_bytes) for c in sorted(replies)}
    shapes = {client: _shape(weights) for client, (weights, _) in told.items()}
    common = party.memory[SHAPE] = party.memory.get(SHAPE) or _of_most(shapes)
    odd = [client for client in told if shapes[client] != common]
    if len(odd) == len(told):
        raise FederationError(
            f"adapters: those of {', '.join(map(repr, odd))} have other names or shapes than those of earlier rounds; "
            "let these clients go on with the model and model.lora that they began with"
        )
    why = "malformed message (adapter: other names or shapes than those of the other clients)"
    party.note(missing=tuple(Missing(party=client, round=round, phase="average", why=why) for client in odd))
    kept = [client for client in told if client not in odd]
    weights, samples = {client: told[client][0] for client in kept}, {client: told[client][1] for client in kept}
    result = {name: np.asarray(a, np.float32) for name, a in aggregate(weights, samples, rule, malicious).items()}
    return adapters.encode(result, min(sum(samples.values()), MOST_SAMPLES)), kept


def _shape(weights: Mapping[str, np.ndarray]) -> bytes:
    """Return an adapter's names and shapes, so that equal ones are equal."""
    return json.dumps([[name, array.shape] for name, array in weights.items()]).encode()


def _of_most(shapes: Mapping[str, bytes]) -> bytes:
    """Return the shape that most clients have. Raises FederationError where none is."""
    (common, count), *rest = Counter(shapes.values()).most_common()
    if rest and rest[0][1] == count:
        first, other = (next(c for c in shapes if shapes[c] == shape) for shape in (common, rest[0][0]))
        raise FederationError(
            f"adapters: those of {other!r} have other names or shapes than those of {first!r}, and which are right "
            "nobody can say; give both clients one model and one model.lora"
        )
    return common


def take_adapter(party: Party, data: bytes) -> None:
    """Let a client go on with the average."""
    weights, _ = adapters.decode(data, limit=party.limits.adapter_bytes)
    party.learner.load_adapter(weights)
