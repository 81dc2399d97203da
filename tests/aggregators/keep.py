"""An aggregator in one file outside the package: state across rounds, an option, a result that differs per client."""

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from lada.aggregators.base import AGGREGATORS, Aggregate, Aggregator, Update
from lada.core.needs import State
from lada.core.registry import Options


class KeepOptions(Options):
    """Options of keeping."""

    keep: float = Field(default=0.5, ge=0, le=1)
    """Share of its own weights that each client keeps."""


@AGGREGATORS.register("keep", options=KeepOptions)
class Keep(Aggregator):
    """Each client keeps a share of its own weights; the rest is the mean of all rounds so far."""

    def __init__(self, options: KeepOptions) -> None:
        self.keep = options.keep

    def aggregate(self, state: State, updates: Mapping[str, Update]) -> tuple[State, Aggregate]:
        """See Aggregator.aggregate. The state has the sum of the means by name, and their number."""
        told = {client: updates[client].weights for client in sorted(updates)}
        names = next(iter(told.values()))
        means = {name: np.mean([own[name] for own in told.values()], axis=0, dtype=np.float64) for name in names}
        total = {name: state.get(f"sum of {name}", np.zeros(())) + mean for name, mean in means.items()}
        count = int(state.get("count", 0)) + 1
        common = {name: each / count for name, each in total.items()}
        mixed = {c: {n: self.keep * own[n] + (1 - self.keep) * common[n] for n in own} for c, own in told.items()}
        after = {"count": np.array(count), **{f"sum of {name}": each for name, each in total.items()}}
        return after, Aggregate(common, mixed, told)
