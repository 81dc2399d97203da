"""Differences in accuracy question by question, with intervals: between two runs, or two rounds of one run.

A run's folder holds each party's verified answers to the test questions, as far as the parties ran on this machine.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from zlib import crc32

import numpy as np
from pydantic import TypeAdapter, ValidationError

from lada.codecs.paths import decode
from lada.core.errors import LadaError
from lada.core.results import PartyInfo
from lada.core.sealed import unseal
from lada.evaluation.comparison import Effect, over_questions
from lada.report.view import View
from lada.tasks.data import TaskData
from lada.tasks.load import load_task
from lada.tasks.options import TaskOptions

CLOSE = 0.001
"""Percent by which an accuracy may differ from that of results.json, which is rounded."""


class Answers:
    """A run's answers to its test questions, read on demand."""

    def __init__(self, folder: Path, view: View) -> None:
        self.folder, self.view = folder, view
        self._read: dict[tuple[str, int], dict[str, bool]] = {}

    @cached_property
    def task(self) -> TaskData | None:
        """The run's task; None if it cannot be read."""
        config = self.view.results.config
        try:
            base = Path(json.loads(unseal(self.folder / "place.json"))["base"])
            clients = {client.name: client.domains for client in self.view.clients}
            return load_task(_OPTIONS.validate_python(config["task"]), clients, int(str(config["seed"])), base)
        except (LadaError, OSError, ValidationError, ValueError, KeyError, TypeError):
            return None

    def right(self, party: str, field: str, round: int) -> dict[str, bool] | None:
        """Return for each question of a group whether a party was right; None if unknown.

        `field` names the group as in Evaluation. Verdicts that do not add up to the accuracy in results.json count as
        unknown.
        """
        told = self.view.value(party, round, field)
        if self.task is None or told is None:
            return None
        domains, verdicts = self._domains(self.task, party, field), self._verdicts(party, round)
        asked = [sample.id for sample in self.task.test if sample.domain in domains]
        right = {id: verdicts[id] for id in asked if id in verdicts}
        accuracy = 100 * float(np.mean(list(right.values()))) if right else float("nan")
        return right if len(right) == len(asked) and abs(accuracy - told.value) < CLOSE else None

    def _verdicts(self, party: str, round: int) -> dict[str, bool]:
        """Return for each question whether a party was right; empty if its answers are not on this machine."""
        if (party, round) not in self._read:
            file = self.folder / "clients" / party / f"test-paths-{round}.arrow"
            try:
                paths = decode(unseal(file), known_ids=None).paths
            except (LadaError, OSError):
                paths = ()
            self._read[party, round] = {path.sample_id: bool(path.right) for path in paths}
        return self._read[party, round]

    @staticmethod
    def _domains(task: TaskData, party: str, field: str) -> frozenset[str]:
        """Return the domains of a group of test questions; `overall` means all except those of general skill."""
        if field == "overall":
            return frozenset(sample.domain for sample in task.test) - task.general
        return task.groups(party)[field]


_OPTIONS: TypeAdapter[TaskOptions] = TypeAdapter(TaskOptions)


def same_questions(one: Answers, other: Answers) -> bool:
    """Return whether two runs are known to have asked the same test questions, with the same gold answers."""
    return one.task is not None and other.task is not None and one.task.test == other.task.test


def paired(
    mine: tuple[Answers, int], theirs: tuple[Answers, int], who: Sequence[PartyInfo], field: str
) -> Effect | None:
    """Return the difference, percentage points, of the mean accuracy of parties to that of the same parties at another
    end.

    Each end is a run with a round; a party counts as much as any other. The interval is a bootstrap over questions:
    those that several parties answered are drawn together. None if an answer is unknown, or if the runs asked different
    questions.
    """
    if not who or not same_questions(mine[0], theirs[0]):
        return None
    differences: dict[str, float] = {}
    for party in who:
        one, other = (answers.right(party.name, field, round) for answers, round in (mine, theirs))
        if one is None or other is None or one.keys() != other.keys():
            return None
        for question, right in one.items():
            share = (right - other[question]) / len(one)
            differences[question] = differences.get(question, 0.0) + share
    values = 100 * len(differences) / len(who) * np.array(list(differences.values()))
    return over_questions([[values]], seed=crc32(field.encode()))
