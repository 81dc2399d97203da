"""Base of the rules that weight clients by their claims, within the bounds of lada.aggregators.bounding."""

from collections.abc import Mapping

from pydantic import Field

from lada.aggregators.base import Aggregate, Aggregator, Update, Weights
from lada.aggregators.bounding import Bounds, Merged
from lada.aggregators.coordinates import Hostile, check_least
from lada.core.needs import State
from lada.core.plural import counted


class Clipped(Hostile):
    """Options of a bounded mean."""

    clip: float | None = Field(default=3.0, ge=1, le=1e6, allow_inf_nan=False)
    """A client's update is clipped to this multiple of the round's median norm. None disables clipping."""


class Bounded(Aggregator):
    """Base of bounded means."""

    name: str

    def __init__(self, options: Clipped) -> None:
        self.bounds = Bounds(options.malicious, options.clip)
        self.by_coordinate = options.malicious > 0

    def check(self, clients: int) -> None:
        """See Aggregator.check. With two clients the mean cannot be robust, and is not refused."""
        if clients >= 3:
            check_least(self.name, 2 * self.bounds.malicious + 1, self.bounds.malicious, clients)

    def merge(
        self, weights: Mapping[str, Weights], samples: Mapping[str, int], starts: Mapping[str, Weights]
    ) -> Merged:
        """Return the clients' common weights, given each client's number of samples and starting weights."""
        raise NotImplementedError

    def fitted(self, common: Weights, own: Weights) -> Weights:
        """Return the weights that a client that sent `own` continues with."""
        return common

    def aggregate(self, state: State, updates: Mapping[str, Update]) -> tuple[State, Aggregate]:
        """See Aggregator.aggregate."""
        weights = {client: update.weights for client, update in updates.items()}
        samples = {client: update.samples for client, update in updates.items()}
        starts = {client: update.start for client, update in updates.items() if update.start is not None}
        merged = self.merge(weights, samples, starts)
        by_client = {client: self.fitted(merged.weights, own) for client, own in weights.items()}
        notices = (*merged.notices, *self._held_against_fewer(len(updates)))
        return state, Aggregate(merged.weights, by_client, merged.received, notices)

    def _held_against_fewer(self, clients: int) -> tuple[str, ...]:
        """Return a notice if too few clients answered for the requested robustness."""
        holds, malicious = self.bounds.holds(clients), self.bounds.malicious
        if holds == malicious or clients < 2:
            return ()
        if not holds:
            return (
                "with two clients it is unknown which is right, so their average is not protected against a "
                "hostile one",
            )
        return (
            f"{clients} clients answered; their average withstands {counted(holds, 'hostile one')} instead of "
            f"{malicious}",
        )
