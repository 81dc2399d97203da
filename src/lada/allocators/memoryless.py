"""What memoryless rules have in common. They are the controls for every filter, and strong ones."""

from lada.allocators.base import State
from lada.core.needs import needs
from lada.core.registry import Options, Pluggable
from lada.core.terms import Allocation, Verb

Outcome = tuple[State, Allocation, dict[str, float]]
CONFIDENT = {Verb.ANSWER, Verb.CONFIDENCE}
COMPARING = needs(CONFIDENT, CONFIDENT, own_paths=True)
"""The needs of rules that compare two paths by their writers' confidence."""


class Memoryless(Pluggable):
    """Base of rules that keep nothing between rounds."""

    def __init__(self, options: Options) -> None:
        self.options = options
