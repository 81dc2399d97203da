"""Labelled public data alone: what the gold texts of the public samples are worth, without any exchange.

Hosts whose parties read these gold texts have to rise above it, for else they owe their gain to the labels.
"""

from collections.abc import Mapping
from dataclasses import replace

from lada.allocators.base import Allocator
from lada.core.errors import InputError
from lada.core.terms import Lesson, Verb
from lada.hosts.base import Bare
from lada.hosts.catalogue.public_sft import PublicSftOptions
from lada.models.objective import Objective
from lada.models.options import ModelOptions
from lada.rounds.base import Exchange, Payload, Phase, Step
from lada.rounds.outline import EVALUATIONS
from lada.rounds.party import Party
from lada.rounds.reports import REPORT, collect, report_payload
from lada.rounds.steps import evaluate_party, gold_lessons, sft, study


class PublicSft:
    """Everybody studies the gold texts of the public samples, clients their private data before; nobody exchanges."""

    bare = Bare("all")
    pools_private = False

    def __init__(self, options: PublicSftOptions) -> None:
        self.options = options

    def check(self, allocator: Allocator, clients: Mapping[str, ModelOptions]) -> None:
        """See Host.check: neither plays a part."""

    def phases(self, party: Party) -> Mapping[str, Phase]:
        """See Host.phases."""
        return dict.fromkeys(("evaluate", "study"), Phase(replies=REPORT))

    def plan(self, round: int, objective: Objective) -> tuple[Step, ...]:
        """See Host.plan."""
        if round == 0:
            return EVALUATIONS
        return (
            Step("client", "private", Verb.STUDY, "private", study="private"),
            *(Step(side, "public", Verb.STUDY, "public", study="distil") for side in ("client", "server")),
            *EVALUATIONS,
        )

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """See Host.serve. Raises InputError in round 0 where no public sample has a gold answer."""
        lessons = self._lessons(party)
        pending = exchange.ask("study" if round else "evaluate", round, {client: {} for client in exchange.clients})
        if round:
            study(party, lessons, sft(), party.studies.distil, round=round, phase="public")
        evaluate_party(party, round)
        collect(party, pending.wait())

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        if phase == "study":
            private = gold_lessons(party, party.private)
            study(party, private, sft(), party.studies.private, round=round, phase="private")
            study(party, self._lessons(party), sft(), party.studies.distil, round=round, phase="public")
        evaluate_party(party, round)
        return report_payload(party)

    def _lessons(self, party: Party) -> list[Lesson]:
        samples = party.task.public
        if not self.options.rationales:
            samples = [replace(sample, rationale=None) for sample in samples]
        lessons = gold_lessons(party, samples)
        if not lessons:
            raise InputError(
                "host: 'public_sft' studies public samples with gold answers, and none has one; expected such samples, "
                "or another host"
            )
        return lessons
