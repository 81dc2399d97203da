"""Rules that work coordinate by coordinate, and what the robust ones share."""

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from lada.aggregators.base import Aggregate, Aggregator, Update, Weights
from lada.core.errors import InputError
from lada.core.needs import State
from lada.core.plural import counted, plural
from lada.core.registry import Options


class Hostile(Options):
    """Options of a rule that withstands some hostile clients."""

    malicious: int = Field(default=1, ge=0, le=1_000_000)
    """Number of clients that may be hostile."""


class Robust(Aggregator):
    """Base of robust rules that bound hostile clients by themselves and weight no client by its own claim."""

    name: str
    by_coordinate = True

    def __init__(self, options: Hostile) -> None:
        self.malicious = options.malicious

    @property
    def least(self) -> int:
        """Minimum number of adapters for robustness. With fewer, the median takes its place."""
        return 2 * self.malicious + 1

    def check(self, clients: int) -> None:
        """See Aggregator.check."""
        check_least(self.name, self.least, self.malicious, clients)

    def combine(self, stacks: Weights) -> Weights:
        """Return one adapter from the clients' `stacks` by name, each [clients, ...] float64, sorted by client."""
        raise NotImplementedError

    def aggregate(self, state: State, updates: Mapping[str, Update]) -> tuple[State, Aggregate]:
        """See Aggregator.aggregate."""
        weights = {client: update.weights for client, update in updates.items()}
        combine = medians if len(updates) < self.least else self.combine
        return state, for_all(combine(stacked(weights)), weights)


def check_least(name: str, least: int, malicious: int, clients: int) -> None:
    """Raise InputError if there are fewer than the `least` clients that a rule needs against `malicious` ones."""
    if clients < least:
        other = ", or 'median'" if clients >= 2 * malicious + 1 else ""
        raise InputError(
            f"host.options.aggregation: {name!r} needs {counted(least, 'client')} against "
            f"{counted(malicious, 'malicious one')}, but {plural(clients, 'there is', 'there are')} {clients}; "
            f"expected more clients or a smaller host.options.malicious{other}"
        )


def stacked(weights: Mapping[str, Weights]) -> dict[str, np.ndarray]:
    """Return the clients' arrays by name, each [clients, ...] float64, sorted by client."""
    clients = sorted(weights)
    return {
        name: np.stack([weights[client][name].astype(np.float64) for client in clients]) for name in weights[clients[0]]
    }


def medians(stacks: Weights) -> Weights:
    """Return the median of each coordinate."""
    return {name: np.median(stack, axis=0) for name, stack in stacks.items()}


def means(weights: Mapping[str, Weights], share: Mapping[str, float]) -> Weights:
    """Return Σ share·weights, float64."""
    clients = sorted(weights)
    return {
        name: np.sum([share[client] * each for client, each in zip(clients, stack, strict=True)], axis=0)
        for name, stack in stacked(weights).items()
    }


def shares(samples: Mapping[str, int]) -> dict[str, float]:
    """Return each client's share of all samples; equal shares if no client has any."""
    total = sum(samples.values())
    return {client: count / total if total else 1 / len(samples) for client, count in samples.items()}


def for_all(common: Weights, weights: Mapping[str, Weights], notices: tuple[str, ...] = ()) -> Aggregate:
    """Return the result in which every client continues with `common`; `weights` are the clipped updates."""
    return Aggregate(common, dict.fromkeys(weights, common), weights, notices)
