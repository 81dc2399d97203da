"""Standalone training: every client studies only its private data. Collaboration must beat this lower bound.

A client studies as many steps as a collaborating one: steps that the other spends on lessons go into private data too.
"""

from lada.core.registry import Options
from lada.hosts.base import Host
from lada.models.objective import Objective
from lada.rounds.base import Ask, Receive, Round
from lada.rounds.outline import EVALUATING, REPORTING, evaluating_everybody, studying_both


class Standalone(Host):
    """Each client studies only its private data, for as many steps as a client that collaborates."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round."""
        if number == 0:
            return evaluating_everybody()
        return (Ask("study"), *studying_both(), EVALUATING, REPORTING, Receive())
