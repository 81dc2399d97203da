"""The contract of an aggregator: what does each client go on with, of the weights that all send?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lada.core.needs import State
from lada.core.registry import Pluggable, Registry

if TYPE_CHECKING:
    import numpy as np

Weights = Mapping[str, "np.ndarray"]
"""Those that clients tune, by name: an adapter's, or all of a model's."""


@dataclass(frozen=True, slots=True)
class Update:
    """What a client sends after its study."""

    weights: Weights
    samples: int
    """Private samples behind them: the client's own word."""
    start: Weights | None = None
    """What it started from; None where the server does not know."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What became of a round's updates."""

    weights: Weights
    """What they have in common: for whoever was not there, and for a server that goes on with it."""
    by_client: Mapping[str, Weights]
    """What each client that sent an update goes on with, in names and shapes of its own."""
    clipped: Mapping[str, Weights]
    """What each client sent, as far as it counted."""
    notices: tuple[str, ...] = ()


class Aggregator(Pluggable):
    """A rule, pure over explicit state. Weights come in float32 and are combined in float64."""

    any_rank: bool = False
    """Whether LoRA adapters of different ranks go together. Clients then send and receive s·B in place of B."""

    def check(self, clients: int) -> None:
        """Raise InputError where it cannot serve so many clients."""

    def aggregate(self, state: State, updates: Mapping[str, Update]) -> tuple[State, Aggregate]:
        """Return the next state and what becomes of the updates by client, at least one.

        Their weights have the same names and shapes, but for the ranks where it takes `any_rank`. It may be asked again
        with fewer of them, and the same state, where the result has numbers out of range.
        """
        raise NotImplementedError


AGGREGATORS: Registry[Aggregator] = Registry("aggregator", "lada.aggregators")
