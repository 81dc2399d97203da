"""FedCoT: the LLM writes rationales, and each SLM learns them alongside the bare labels.

The two tasks come from distilling step by step (arXiv 2305.02301). PDSS (arXiv 2406.12403) and FedCoT use them in a
federation. One round:

    clients   study their private data; answer the public questions                             `contribute`
    server    answers them too: these paths are the rationales, written once, since the LLM never learns
    clients   receive the rationales; an allocator chooses which to study, each as two lessons:         `learn`
              the rationale and the label alone

    loss = α · NLL(rationale and answer | question) + (1 - α) · NLL(label | label prompt)

The papers' prompts of private questions, perturbed under differential privacy, are left out: our questions are public.
"""

from collections.abc import Sequence
from dataclasses import replace

from lada.core.terms import Lesson
from lada.hosts.base import Host
from lada.hosts.options.fedcot import FedcotOptions
from lada.models.objective import Objective
from lada.rounds.base import Ask, Receive, Round, Turn
from lada.rounds.gold import check_gold
from lada.rounds.knowledge import kinds_of
from lada.rounds.labels import ask_for_labels
from lada.rounds.outline import (
    EVALUATING,
    REPORTING,
    STANDING,
    allocating,
    chosen_lessons,
    distilling,
    evaluating_everybody,
    knowing,
    receiving,
    sending,
    studying_private,
    to_each,
)
from lada.rounds.steps import gold_lessons
from lada.tasks.data import TaskData


class Fedcot(Host):
    """The LLM writes rationales for the public questions; each SLM learns them and, as a second task, the labels."""

    server_studies = False

    def __init__(self, options: FedcotOptions) -> None:
        self.options = options
        self.client_replay = options.client_replay

    def check_task(self, task: TaskData) -> None:
        """See Host.check_task."""
        if self.options.labels == "gold":
            bare = replace(task, public=tuple(replace(sample, rationale=None) for sample in task.public))
            check_gold(bare, "host.options.labels: 'gold'", "set labels: llm, the answers that the LLM gives")

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round."""
        if number == 0:
            return evaluating_everybody()
        return (
            Ask("contribute"),
            studying_private(),
            knowing("client", "answer", "paths", number, objective, tells=False),
            REPORTING,
            knowing("server", "answer", "paths", number, objective, tells=True, known=number > 1),
            Receive(),
            sending("server", "paths", number, objective),
            Ask("learn", kinds_of("paths", objective), to_each),
            receiving("paths"),
            allocating("client", "paths", self.options.client_replay),
            distilling("client", self.options.client_replay, lessons=self._with_labels),
            EVALUATING,
            REPORTING,
            STANDING,
            Receive(),
        )

    def _with_labels(self, turn: Turn) -> list[Lesson]:
        """Return each rationale, followed by the labels of the same samples as separate lessons."""
        party, rationales = turn.party, chosen_lessons(turn)
        samples = {sample.id: sample for sample in party.task.public}
        labelled = []
        for lesson in rationales:
            sample = samples[lesson.sample_id]
            answer = sample.answer if self.options.labels == "gold" else party.task.extract(lesson.chosen)
            labelled.append(replace(sample, answer=answer, rationale=None))
        labels = gold_lessons(party, ask_for_labels(labelled, self.options.label_prompt))
        return weigh(rationales, labels, self.options.alpha)


def weigh(rationales: Sequence[Lesson], labels: Sequence[Lesson], alpha: float) -> list[Lesson]:
    """Return both with weights, so that each lesson counts its nats per byte, times α or 1 - α.

    Without weights, a batch's loss is a mean over tokens in which the short labels would hardly count. Bytes stand in
    for tokens, so that no learner is needed; the end of a text counts as one. At α = 0.5, a text of mean length has
    weight 1, as replayed lessons do. A task of weight 0 is left out.
    """
    tasks = [*((lesson, alpha) for lesson in rationales), *((lesson, 1 - alpha) for lesson in labels)]
    sizes = [len(lesson.chosen.encode()) + 1 for lesson, _ in tasks]
    mean = sum(sizes) / max(len(sizes), 1)
    return [
        replace(lesson, weight=2 * share * mean / size)
        for (lesson, share), size in zip(tasks, sizes, strict=True)
        if share
    ]
