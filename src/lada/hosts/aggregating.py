"""One adapter from many clients' that a few of them cannot spoil: Flower's robust rules, over weights by name.

`median` and `trimmed_mean`: coordinate by coordinate (Yin et al. 2018, arXiv 1803.01498). `krum` and `multi_krum`: the
adapters that lie closest to the others (Blanchard et al. 2017, arXiv 1703.02757). `bulyan`: of those that Multi-Krum
takes, coordinate by coordinate the mean of the values nearest to their median (El Mhamdi et al. 2018, arXiv
1802.07927). None of them weighs by samples, since that number is the client's own word.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from lada.core.errors import InputError

Rule = Literal["mean", "median", "trimmed_mean", "krum", "multi_krum", "bulyan"]
Weights = Mapping[str, np.ndarray]


def least_clients(rule: Rule, malicious: int) -> int:
    """Return how many adapters a rule needs for its guarantee against so many malicious ones."""
    return {"krum": 2, "multi_krum": 2, "bulyan": 4}.get(rule, 0) * malicious + (3 if _selects(rule) else 1)


def check_rule(rule: Rule, malicious: int, clients: int) -> None:
    """Raise InputError where a rule cannot hold against `malicious` of so many clients."""
    if clients < least_clients(rule, malicious):
        raise InputError(
            f"host.options.aggregation: {rule!r} against malicious: {malicious} needs "
            f"{least_clients(rule, malicious)} clients, there are {clients}; expected more clients, fewer malicious "
            "ones, or 'median'"
        )
    if _trims(rule) and 2 * malicious >= clients:
        raise InputError(
            f"host.options.malicious: {malicious} of {clients} clients; expected fewer than half of them for {rule!r}"
        )


def aggregate(weights: Mapping[str, Weights], samples: Mapping[str, int], rule: Rule, malicious: int) -> Weights:
    """Return one adapter, float64, of those by client, which have the same names and shapes.

    `samples` weigh the `mean`, alike where nobody has any; `malicious` is how many may lie. With fewer adapters than
    `least_clients` the selecting rules give way to the median, the best that is left.
    """
    clients = sorted(weights)
    stacks = {
        name: np.stack([weights[client][name].astype(np.float64) for client in clients])
        for name in weights[clients[0]]
    }
    if rule == "mean":
        counts = np.array([samples[client] for client in clients], np.float64)
        shares = counts / counts.sum() if counts.sum() else np.full(len(counts), 1 / len(counts))
        return {name: np.tensordot(shares, stack, axes=1) for name, stack in stacks.items()}
    if rule == "median" or len(clients) < least_clients(rule, malicious):
        return {name: np.median(stack, axis=0) for name, stack in stacks.items()}
    if rule == "trimmed_mean":
        return {name: _trimmed(stack, malicious) for name, stack in stacks.items()}
    return _selected(stacks, len(clients), rule, malicious)


def _selects(rule: Rule) -> bool:
    return rule in ("krum", "multi_krum", "bulyan")


def _trims(rule: Rule) -> bool:
    return rule in ("median", "trimmed_mean")


def _trimmed(stack: np.ndarray, malicious: int) -> np.ndarray:
    from flwr.serverapp.strategy.fedtrimmedavg import trim_mean

    cut = min(malicious, (len(stack) - 1) // 2)
    # Half a client more, so that rounding down takes `cut` of them whatever the quotient's last bit.
    return trim_mean(stack, (cut + 0.5) / len(stack) if cut else 0.0)


def _selected(stacks: Weights, clients: int, rule: Rule, malicious: int) -> Weights:
    from flwr.app import Array, ArrayRecord, RecordDict
    from flwr.serverapp.strategy.bulyan import aggregate_n_closest_weights
    from flwr.serverapp.strategy.multikrum import select_multikrum

    told = [
        RecordDict({"arrays": ArrayRecord({name: Array(stack[row]) for name, stack in stacks.items()})})
        for row in range(clients)
    ]
    taken = {"krum": 1, "multi_krum": clients - malicious, "bulyan": clients - 2 * malicious}[rule]
    kept = [list(each.array_records["arrays"].to_numpy_ndarrays()) for each in select_multikrum(told, malicious, taken)]
    if rule == "bulyan":
        middle = [np.median(layers, axis=0) for layers in zip(*kept, strict=True)]
        result = aggregate_n_closest_weights(middle, kept, taken - 2 * malicious)
    else:
        result = [np.mean(layers, axis=0) for layers in zip(*kept, strict=True)]
    return dict(zip(stacks, result, strict=True))
