"""A fuser in one file outside the package: everybody teaches as often as the others, each receiver on its own."""

from collections.abc import Mapping

import numpy as np

from lada.core.needs import State
from lada.core.registry import Options
from lada.core.terms import Path
from lada.fusers.base import FUSERS, Fuser


@FUSERS.register("fair")
class Fair(Fuser):
    """Takes the offer of the party that has taught this receiver least so far; ties go by name."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def fuse(
        self, state: State, receiver: str, offers: Mapping[str, Path], own: Path | None = None
    ) -> tuple[State, str | None]:
        """See Fuser.fuse. The state counts the lessons of each receiver by their teacher."""
        taught = {party: int(state.get(f"{receiver} of {party}", 0)) for party in sorted(offers)}
        least = min(taught, key=taught.__getitem__)
        return {**state, f"{receiver} of {least}": np.array(taught[least] + 1)}, least
