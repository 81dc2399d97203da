"""The contract of an aggregator: which weights each client continues with, given the weights that all send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lada.core.needs import State
from lada.core.registry import Pluggable, Registry

if TYPE_CHECKING:
    import numpy as np

Weights = Mapping[str, "np.ndarray"]
"""The weights that clients tune, by name: an adapter's, or all of a model's."""


@dataclass(frozen=True, slots=True)
class Update:
    """What a client sends after its study."""

    weights: Weights
    samples: int
    """Number of private samples behind the weights, as claimed by the client."""
    start: Weights | None = None
    """The weights that it started from; None if the server does not know them."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The result of a round's updates."""

    weights: Weights
    """The common weights, for absent clients and for a server that continues with them."""
    by_client: Mapping[str, Weights]
    """The weights that each sender continues with, in its own names and shapes."""
    clipped: Mapping[str, Weights]
    """Each client's update after clipping."""
    notices: tuple[str, ...] = ()


class Aggregator(Pluggable):
    """A rule with explicit state and no side effects. Weights arrive in float32 and are combined in float64."""

    by_coordinate: bool = False
    """Whether it compares clients coordinate by coordinate, so that those that a sparse codec left out mislead it."""
    any_rank: bool = False
    """Whether LoRA adapters of different ranks can be combined. Clients then send and receive s·B instead of B."""

    def check(self, clients: int) -> None:
        """Raise InputError if it cannot serve this many clients."""

    def aggregate(self, state: State, updates: Mapping[str, Update]) -> tuple[State, Aggregate]:
        """Return the next state and the result of at least one update, by client.

        Weights have the same names and shapes, except for ranks with `any_rank`. If the result is out of range, it may
        be called again with the same state and fewer updates.
        """
        raise NotImplementedError


AGGREGATORS: Registry[Aggregator] = Registry("aggregator", "lada.aggregators", tags=("weights", "averaging"))
