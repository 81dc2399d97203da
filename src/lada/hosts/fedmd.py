"""FedMD: the members' distributions over the gold texts become one, and each member learns it (arXiv 1910.03581).

One round:

    clients   study their private data; score the gold texts of the public samples token by token     `contribute`
    server    scores them too; brings all into the LLM's tokens and averages them: the consensus
    clients   hear the consensus; an allocator says on which samples to match it ("digest");           `digest`
              then study private data again ("revisit")
    server    meanwhile the LLM, a member like the others, matches it as well

With `average: probabilities` and a temperature of 0.1 it is DS-FL (arXiv 2008.06180), in our reading.
"""

from collections.abc import Mapping, Sequence

from lada.allocators.base import Allocator
from lada.core.terms import Knowledge, Lesson, TokenScores, Verb
from lada.hosts.base import Bare
from lada.hosts.catalogue.fedmd import FedmdOptions
from lada.models.objective import Objective
from lada.models.options import ModelOptions
from lada.rounds.allocating import check_takes_labels
from lada.rounds.base import Exchange, Payload, Phase, Step
from lada.rounds.knowledge import (
    Offer,
    encode,
    hear,
    keep_own,
    kinds_heard,
    kinds_told,
    know,
    own,
    score,
    tell,
    tell_scores,
)
from lada.rounds.matching import CONSENSUS, consensus_offer, match, merge_heard
from lada.rounds.outline import EVALUATIONS, evaluate_everybody, learning, telling
from lada.rounds.party import Party
from lada.rounds.replies import each
from lada.rounds.reports import REPORT, collect, report_payload
from lada.rounds.soft import check_wants_soft_targets, with_soft_targets
from lada.rounds.steps import evaluate_party, gold_lessons, part_of, sft, study


class Fedmd:
    """Everybody scores the gold texts, the server averages the distributions, everybody learns the average."""

    bare = Bare("all", "soft_targets", {"form": "forward_kl", "label_weight": 0.0})
    pools_private = False

    def __init__(self, options: FedmdOptions) -> None:
        self.options = options

    def check(self, allocator: Allocator, clients: Mapping[str, ModelOptions]) -> None:
        """See Host.check."""
        check_takes_labels(allocator, "host: 'fedmd' works on gold texts", "plugin none")

    def phases(self, party: Party) -> Mapping[str, Phase]:
        """See Host.phases."""
        told = kinds_heard(party, "labels")
        return {
            "evaluate": Phase(replies=REPORT),
            "contribute": Phase(replies=told | REPORT),
            "digest": Phase(told, REPORT),
        }

    def plan(self, round: int, objective: Objective) -> tuple[Step, ...]:
        """See Host.plan."""
        check_wants_soft_targets("fedmd", objective)
        if round == 0:
            return EVALUATIONS
        before = 1 - self.options.revisit
        averaging = Step("server", "average", None, "public", sends=kinds_told("labels", round, soft=True))
        return (
            Step("client", "private", Verb.STUDY, "private", study="private", part=(0.0, before)),
            *telling("client", "answer", "labels", round, objective, sends=True),
            *(telling("server", "answer", "labels", round, objective, sends=True) if self._member else (averaging,)),
            *(learning("server", "labels") if self._member else ()),
            *learning("client", "labels"),
            Step("client", "revisit", Verb.STUDY, "private", study="private", part=(before, 1.0)),
            *EVALUATIONS,
        )

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """See Host.serve."""
        if round == 0:
            evaluate_everybody(party, exchange, round)
            return
        pending = exchange.ask("contribute", round, {client: {} for client in exchange.clients})
        mine = know(party, round, "answer", "labels") if self._member else None
        scores = {} if mine is None else score(party, mine)
        replies = pending.wait()
        collect(party, replies)
        lessons = gold_lessons(party, party.task.public)

        def soft(client: str, reply: Payload) -> list[Lesson]:
            return with_soft_targets(party, lessons, hear(party, reply, client, round, "labels"))

        told = each(party, exchange, "contribute", round, replies, soft)
        merged = self._consensus(party, round, lessons, told, scores)
        consensus = {**encode(merged.knowledge, "labels"), **tell_scores(party, round, merged.scores)}
        pending = exchange.ask("digest", round, dict.fromkeys(told, consensus))
        if mine is not None:
            teacher = Offer(Knowledge(CONSENSUS, round, merged.knowledge.paths), merged.scores, merged.vocabulary)
            match(party, round, teacher, mine, self.options.server_replay)
        evaluate_party(party, round)
        collect(party, pending.wait())

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        before = 1 - self.options.revisit
        if phase == "contribute":
            self._study_private(party, round, phase="private", part=(0.0, before))
            mine = know(party, round, "answer", "labels")
            keep_own(party, encode(mine, "labels"))
            return {**tell(party, mine, "labels"), **report_payload(party)}
        if phase == "digest":
            offer, mine = hear(party, payload, None, round, "labels"), own(party, round, "labels")
            match(party, round, offer, mine, self.options.client_replay)
            self._study_private(party, round, phase="revisit", part=(before, 1.0))
        evaluate_party(party, round)
        return report_payload(party)

    @property
    def _member(self) -> bool:
        return self.options.llm_member

    def _study_private(self, party: Party, round: int, *, phase: str, part: tuple[float, float]) -> None:
        options = part_of(party.studies.private, *part)
        study(party, gold_lessons(party, party.private), sft(), options, round=round, phase=phase)

    def _consensus(
        self,
        party: Party,
        round: int,
        lessons: Sequence[Lesson],
        clients: Mapping[str, Sequence[Lesson]],
        scores: Mapping[str, TokenScores],
    ) -> Offer:
        """Return what the members say together of the gold texts, the `lessons`, in the server's tokens.

        `clients` have them with soft targets; `scores` are the server's own.
        """
        said = {party.name: {id: own.top for id, own in scores.items()}}
        for client in sorted(clients):
            said[client] = {lesson.sample_id: lesson.soft for lesson in clients[client] if lesson.soft is not None}
        told = [lesson for lesson in lessons if any(lesson.sample_id in member for member in said.values())]
        texts = zip(told, party.learner.spell([lesson.chosen for lesson in told]), strict=True)
        # Whose soft targets could be brought into these tokens, or were scored in them, can be spelled in them.
        spelled = {lesson.sample_id: text for lesson, text in texts if text is not None}
        merged = merge_heard(party, round, spelled, said, self.options.average, self.options.temperature)
        return consensus_offer(party, party.name, round, merged)
