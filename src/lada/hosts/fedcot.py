"""FedCoT: the LLM writes rationales, and each SLM learns them beside the bare labels.

Distilling step by step (arXiv 2305.02301) gave the two tasks, PDSS (arXiv 2406.12403) and FedCoT brought them into a
federation. One round:

    clients   study their private data; answer the public questions                             `contribute`
    server    answers them too: these paths are the rationales, written once, since the LLM never learns
    clients   hear the rationales; an allocator says which to study; each is studied as two lessons,   `learn`
              the rationale and the label alone

    loss = α · NLL(rationale and answer | question) + (1 - α) · NLL(label | label prompt)

The papers' prompts of private questions, perturbed under differential privacy, are left out: the questions are public.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lada.allocators.base import Allocator
from lada.core.errors import InputError
from lada.core.terms import Lesson, Verb
from lada.hosts.base import Bare
from lada.hosts.catalogue.fedcot import FedcotOptions
from lada.models.objective import Objective
from lada.models.options import ModelOptions
from lada.rounds.allocating import allocate
from lada.rounds.base import Exchange, Payload, Phase, Step
from lada.rounds.distilling import distil, lessons_of
from lada.rounds.knowledge import encode, hear, keep_own, kinds_heard, know, own, tell
from lada.rounds.outline import EVALUATIONS, OF_CLIENTS, evaluate_everybody, learning, telling
from lada.rounds.party import Party
from lada.rounds.reports import REPORT, collect, report_payload
from lada.rounds.steps import evaluate_party, gold_lessons, sft, study


class Fedcot:
    """The LLM writes rationales of the public questions; each SLM learns them and, as a second task, the labels."""

    bare = Bare("all")
    pools_private = False

    def __init__(self, options: FedcotOptions) -> None:
        self.options = options

    def check(self, allocator: Allocator, clients: Mapping[str, ModelOptions]) -> None:
        """See Host.check: any will do."""

    def phases(self, party: Party) -> Mapping[str, Phase]:
        """See Host.phases."""
        return {
            "evaluate": Phase(replies=REPORT),
            "contribute": Phase(replies=REPORT),
            "learn": Phase(kinds_heard(party, "paths"), REPORT),
        }

    def plan(self, round: int, objective: Objective) -> tuple[Step, ...]:
        """See Host.plan."""
        if round == 0:
            return EVALUATIONS
        return (
            Step("client", "private", Verb.STUDY, "private", study="private"),
            *telling("client", "answer", "paths", round, objective, sends=False),
            *telling("server", "answer", "paths", round, objective, sends=True, known=round > 1),
            *learning("client", "paths"),
            *OF_CLIENTS,
        )

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """See Host.serve. Raises InputError where labels are wanted of samples that have none."""
        if round == 0:
            self._check_labels(party)
            evaluate_everybody(party, exchange, round)
            return
        pending = exchange.ask("contribute", round, {client: {} for client in exchange.clients})
        rationales = know(party, round, "answer", "paths")
        replies = pending.wait()
        collect(party, replies)
        pending = exchange.ask("learn", round, dict.fromkeys(replies, tell(party, rationales, "paths")))
        evaluate_party(party, round)
        collect(party, pending.wait())

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        if phase == "contribute":
            lessons = gold_lessons(party, party.private)
            study(party, lessons, sft(), party.studies.private, round=round, phase="private")
            keep_own(party, encode(know(party, round, "answer", "paths"), "paths"))
            return report_payload(party)
        if phase == "learn":
            offer, mine = hear(party, payload, None, round, "paths"), own(party, round, "paths")
            allocation = allocate(party, round, offer.knowledge, mine)
            tasks = self._with_labels(party, lessons_of(party, allocation, offer, mine))
            distil(party, round, tasks, mine, replay=self.options.client_replay, teachers=offer.knowledge.party)
        evaluate_party(party, round)
        return report_payload(party)

    def _check_labels(self, party: Party) -> None:
        if self.options.labels == "gold" and all(sample.answer is None for sample in party.task.public):
            raise InputError(
                "host.options.labels: 'gold' needs public samples with gold answers; expected 'llm', the answers that "
                "the LLM gives"
            )

    def _with_labels(self, party: Party, rationales: Sequence[Lesson]) -> list[Lesson]:
        """Return each rationale, and behind them the labels of the same samples as lessons of their own."""
        samples = {sample.id: sample for sample in party.task.public}
        labelled = []
        for lesson in rationales:
            sample = samples[lesson.sample_id]
            answer = sample.answer if self.options.labels == "gold" else party.task.extract(lesson.chosen)
            asked = self.options.label_prompt.replace("{question}", sample.question)
            labelled.append(replace(sample, question=asked, answer=answer, rationale=None))
        return weigh(rationales, gold_lessons(party, labelled), self.options.alpha)


def weigh(rationales: Sequence[Lesson], labels: Sequence[Lesson], alpha: float) -> list[Lesson]:
    """Return both with weights by which each lesson counts its nats per byte, times α or 1 - α.

    Without weights a batch's loss is a mean over tokens, in which the short labels would hardly count. Bytes stand in
    for tokens, of which no learner need be asked; the end of a text counts as one. The weights are such that a text of
    mean length weighs 1 at α = 0.5, as replayed lessons do. A task of weight 0 is left out.
    """
    tasks = [*((lesson, alpha) for lesson in rationales), *((lesson, 1 - alpha) for lesson in labels)]
    sizes = [len(lesson.chosen.encode()) + 1 for lesson, _ in tasks]
    mean = sum(sizes) / max(len(sizes), 1)
    return [
        replace(lesson, weight=2 * share * mean / size)
        for (lesson, share), size in zip(tasks, sizes, strict=True)
        if share
    ]
