"""The most confident party teaches, as in FedMKT's DualMinCE."""

import math
from collections.abc import Mapping

from lada.core.needs import State
from lada.core.registry import Options
from lada.core.terms import Path
from lada.fusers.base import FUSERS, Fuser


class LeastLossOptions(Options):
    """Options of the fuser.

    Each writer's loss is that of its own path, in nats per byte, which is comparable across tokenizers.
    """

    below_own: bool = False
    """Learn only if the least loss is below the receiver's own, as FedMKT does. With the allocator `dual_min_ce` this
    has no effect, since it already checks that."""


@FUSERS.register(
    "least_loss", options=LeastLossOptions, paper="arXiv 2406.02224", status="our reading", tags=("labels", "feedback")
)
class LeastLoss(Fuser):
    """Take the path with the least loss in nats per byte under its own writer."""

    pairwise = True

    def __init__(self, options: LeastLossOptions) -> None:
        self.options = options

    def fuse(
        self, state: State, receiver: str, offers: Mapping[str, Path], own: Path | None = None
    ) -> tuple[State, str | None]:
        """See Fuser.fuse. Ties go to the first party by name; a loss that is NaN never wins.

        Our reading: FedMKT compares losses on the gold text, per token; here each party is judged by the path it
        would teach, per byte.
        """
        losses = {party: offers[party].likelihood.per_byte for party in sorted(offers)}
        losses = {party: loss for party, loss in losses.items() if not math.isnan(loss)}
        best = min(losses, key=losses.__getitem__, default=None)
        if best is None or not self.options.below_own or own is None:
            return state, best
        # Not `>=`: a receiver whose own loss is NaN accepts any offer.
        return state, None if own.likelihood.per_byte <= losses[best] else best
