"""Supervised fine-tuning on labelled public data, without any exchange.

Hosts whose parties read the same gold texts must beat it. Otherwise they owe their gain to the labels.
"""

from dataclasses import replace

from lada.core.errors import InputError
from lada.core.terms import Lesson
from lada.hosts.base import Host
from lada.hosts.options.public_sft import PublicSftOptions
from lada.models.objective import Objective
from lada.rounds.base import Ask, Receive, Round, Step, Turn
from lada.rounds.labels import ask_for_labels
from lada.rounds.outline import (
    EVALUATING,
    EVALUATING_SERVER,
    REPORTING,
    Side,
    evaluating_everybody,
    silent,
    studying,
    studying_private,
)
from lada.rounds.steps import gold_lessons


class PublicSft(Host):
    """All parties study the gold texts of the public samples, clients after their private data, without exchange."""

    def __init__(self, options: PublicSftOptions) -> None:
        self.options = options

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round. It raises InputError if no public sample has a gold answer."""
        looking = silent("server", self._look)
        if number == 0:
            return (looking, *evaluating_everybody())
        return (
            looking,
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

    def _look(self, turn: Turn) -> None:
        self._lessons(turn)

    def _lessons(self, turn: Turn) -> list[Lesson]:
        samples = turn.party.task.public
        if not self.options.rationales:
            samples = [replace(sample, rationale=None) for sample in samples]
        lessons = gold_lessons(turn.party, ask_for_labels(samples, self.options.label_prompt))
        if not lessons:
            raise InputError(
                "host: 'public_sft' studies public samples with gold answers, but there are none; expected such "
                "samples, or another host"
            )
        return lessons
