"""Clients with one model average their LoRA adapters, as FedMKT does in its homogeneous setting and FedIT always.

The factors A and B are averaged apart, weighed by private samples. That is not the average of the products BA; it is
what FedMKT does.
"""

from collections.abc import Mapping

import numpy as np

from lada.codecs import adapters
from lada.core.errors import FederationError, InputError
from lada.hosts.base import Payload
from lada.hosts.party import Party
from lada.models.options import ModelOptions

ADAPTER = "adapter"


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


def average_adapters(replies: Mapping[str, Payload]) -> bytes:
    """Return the average of the adapters in `replies`, each weighed by its private samples; alike if nobody has any.

    Raises CodecError for what is no adapter, FederationError for adapters of different names or shapes.
    """
    told = {client: adapters.decode(replies[client][ADAPTER]) for client in sorted(replies)}
    shapes = {client: {name: a.shape for name, a in weights.items()} for client, (weights, _) in told.items()}
    first = next(iter(told))
    for client in told:
        if shapes[client] != shapes[first]:
            raise FederationError(f"adapters: those of {client!r} have other names or shapes than those of {first!r}")
    counts = np.array([samples for _, samples in told.values()], np.float64)
    shares = counts / counts.sum() if counts.sum() else np.full(len(counts), 1 / len(counts))
    average = {
        name: sum(
            share * weights[name].astype(np.float64) for share, (weights, _) in zip(shares, told.values(), strict=True)
        )
        for name in shapes[first]
    }
    return adapters.encode({name: np.asarray(a, np.float32) for name, a in average.items()}, int(counts.sum()))


def take_adapter(party: Party, data: bytes) -> None:
    """Let a client go on with the average."""
    weights, _ = adapters.decode(data)
    party.learner.load_adapter(weights)
