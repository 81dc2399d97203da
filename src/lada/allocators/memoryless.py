"""What rules without memory have in common. They are the controls every filter is compared with, and good ones."""

from lada.allocators.base import State
from lada.core.needs import needs
from lada.core.registry import Options, Pluggable
from lada.core.terms import Allocation, Verb

Outcome = tuple[State, Allocation, dict[str, float]]
CONFIDENT = {Verb.ANSWER, Verb.CONFIDENCE}
COMPARING = needs(CONFIDENT, CONFIDENT, own_paths=True)
"""Of rules that compare two paths by how sure their writers are."""


class Memoryless(Pluggable):
    """Base of rules that keep nothing between rounds."""

    def __init__(self, options: Options) -> None:
        self.options = options
