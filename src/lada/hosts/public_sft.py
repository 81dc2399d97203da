"""Supervised fine-tuning on labelled public data, without any exchange.

Hosts whose parties read the same gold texts must beat it. Otherwise they owe their gain to the labels.
"""

from dataclasses import replace

from lada.core.terms import Lesson, Sample
from lada.hosts.base import Host
from lada.hosts.options.public_sft import PublicSftOptions
from lada.models.objective import Objective
from lada.rounds.base import Ask, Receive, Round, Step, Turn
from lada.rounds.gold import check_gold
from lada.rounds.labels import ask_for_labels
from lada.rounds.outline import (
    EVALUATING,
    EVALUATING_SERVER,
    REPORTING,
    Side,
    evaluating_everybody,
    studying,
    studying_private,
)
from lada.rounds.steps import gold_lessons
from lada.tasks.data import TaskData


class PublicSft(Host):
    """All parties study the gold texts of the public samples, clients after their private data, without exchange."""

    def __init__(self, options: PublicSftOptions) -> None:
        self.options = options

    def check_task(self, task: TaskData) -> None:
        """See Host.check_task."""
        check_gold(replace(task, public=self._studied(task)), "host: 'public_sft'", "choose another host")

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round."""
        if number == 0:
            return evaluating_everybody()
        return (
            Ask("study"),
            studying_private(),
            self._public("client"),
            self._public("server"),
            EVALUATING,
            REPORTING,
            EVALUATING_SERVER,
            Receive(),
        )

    def _public(self, side: Side) -> Step:
        return studying(side, "public", "public", self._lessons, budget="distil")

    def _lessons(self, turn: Turn) -> list[Lesson]:
        return gold_lessons(turn.party, ask_for_labels(self._studied(turn.party.task), self.options.label_prompt))

    def _studied(self, task: TaskData) -> tuple[Sample, ...]:
        if self.options.rationales:
            return task.public
        return tuple(replace(sample, rationale=None) for sample in task.public)
