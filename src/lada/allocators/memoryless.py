"""What rules without memory have in common. They are the controls every filter is compared with, and good ones."""

from lada.allocators.base import State
from lada.core.registry import Options
from lada.core.terms import Allocation, Verb

Outcome = tuple[State, Allocation, dict[str, float]]
CONFIDENT = {Verb.ANSWER, Verb.CONFIDENCE}


class Memoryless:
    """Base of rules that keep nothing between rounds."""

    compares = False

    def __init__(self, options: Options) -> None:
        self.options = options

    def init(self, seed: int) -> State:
        """Return the empty state."""
        return {}
