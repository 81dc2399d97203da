"""One adapter from many clients' that a few of them cannot spoil: Flower's robust rules, over weights by name.

`median` and `trimmed_mean`: coordinate by coordinate (Yin et al. 2018, arXiv 1803.01498). `krum` and `multi_krum`: the
adapters that lie closest to the others (Blanchard et al. 2017, arXiv 1703.02757). `bulyan`: of those that Multi-Krum
takes, coordinate by coordinate the mean of the values nearest to their median (El Mhamdi et al. 2018, arXiv
1802.07927). None of them weighs by samples, since that number is the client's own word.
"""

from collections.abc import Mapping

import numpy as np

from lada.core.errors import InputError
from lada.core.plural import counted, plural
from lada.rounds.options import Aggregation

Weights = Mapping[str, np.ndarray]


def least_clients(rule: Aggregation, malicious: int) -> int:
    """Return how many adapters a rule needs to hold against so many malicious ones."""
    match rule:
        case "mean" | "median" | "trimmed_mean":
            return 2 * malicious + 1
        case "krum" | "multi_krum":
            return 2 * malicious + 3
        case "bulyan":
            return 4 * malicious + 3


def check_rule(rule: Aggregation, malicious: int, clients: int) -> None:
    """Raise InputError where a rule cannot hold against `malicious` of so many clients.

    The mean of two clients can be held against nobody, and is not refused.
    """
    least = least_clients(rule, malicious)
    if clients < least and not (rule == "mean" and clients < 3):
        other = ", or 'median'" if clients >= least_clients("median", malicious) else ""
        raise InputError(
            f"host.options.aggregation: {rule!r} needs {counted(least, 'client')} against "
            f"{counted(malicious, 'malicious one')}, {plural(clients, 'there is', 'there are')} {clients}; expected "
            f"more clients or a smaller host.options.malicious{other}"
        )


def shares(samples: Mapping[str, int]) -> dict[str, float]:
    """Return each client's share of all samples; alike where nobody has any."""
    total = sum(samples.values())
    return {client: count / total if total else 1 / len(samples) for client, count in samples.items()}


def aggregate(weights: Mapping[str, Weights], samples: Mapping[str, int], rule: Aggregation, malicious: int) -> Weights:
    """Return one adapter, float64, of those by client, which have the same names and shapes.

    `samples` weigh the `mean` (see `shares`), which nothing holds here (see lada.rounds.bounding); `malicious` is how
    many may lie. With fewer adapters than `least_clients` every rule but the mean gives way to the median, the best
    that is left.
    """
    clients = sorted(weights)
    stacks = {
        name: np.stack([weights[client][name].astype(np.float64) for client in clients]) for name in weights[clients[0]]
    }
    if rule == "mean":
        weight = shares(samples)
        return {
            name: np.sum([weight[client] * each for client, each in zip(clients, stack, strict=True)], axis=0)
            for name, stack in stacks.items()
        }
    if rule == "median" or len(clients) < least_clients(rule, malicious):
        return {name: np.median(stack, axis=0) for name, stack in stacks.items()}
    if rule == "trimmed_mean":
        return {name: _trimmed(stack, malicious) for name, stack in stacks.items()}
    return _selected(stacks, len(clients), rule, malicious)


def _trimmed(stack: np.ndarray, malicious: int) -> np.ndarray:
    """Return the mean without the `malicious` least and greatest values of each coordinate."""
    from flwr.serverapp.strategy.fedtrimmedavg import trim_mean

    # Flower takes a share and rounds down; this one is never near the edge between two numbers of clients.
    return trim_mean(stack, (malicious + 0.5) / (len(stack) + 1)) if malicious else stack.mean(axis=0)


def _selected(stacks: Weights, clients: int, rule: Aggregation, malicious: int) -> Weights:
    from flwr.app import Array, ArrayRecord, RecordDict
    from flwr.serverapp.strategy.bulyan import aggregate_n_closest_weights
    from flwr.serverapp.strategy.multikrum import select_multikrum

    told = [
        RecordDict({"adapter": ArrayRecord({name: Array(stack[row]) for name, stack in stacks.items()})})
        for row in range(clients)
    ]
    taken = {"krum": 1, "multi_krum": clients - malicious, "bulyan": clients - 2 * malicious}[rule]
    kept = [each.array_records["adapter"].to_numpy_ndarrays() for each in select_multikrum(told, malicious, taken)]
    if rule == "bulyan":
        middle = [np.median(layers, axis=0) for layers in zip(*kept, strict=True)]
        result = aggregate_n_closest_weights(middle, kept, taken - 2 * malicious)
    else:
        result = [np.mean(layers, axis=0) for layers in zip(*kept, strict=True)]
    return dict(zip(stacks, result, strict=True))
