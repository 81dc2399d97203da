"""Standalone: every client studies its private data alone. The floor that collaboration has to rise above.

It studies as many steps as a collaborating client: those that the other spends on lessons go into private data too.
"""

from collections.abc import Mapping

from lada.allocators.base import Allocator
from lada.core.registry import Options
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Bare, Exchange, Payload, Phase, Step
from lada.hosts.party import Party
from lada.hosts.reports import REPORT, collect, report_payload
from lada.hosts.steps import evaluate_party, gold_lessons, sft, study
from lada.models.objective import Objective
from lada.models.options import ModelOptions


@HOSTS.register("standalone", student_needs={Verb.ANSWER, Verb.STUDY})
class Standalone:
    """Private studies only, step-matched to a host with lessons."""

    bare = Bare("all")
    pools_private = False

    def __init__(self, options: Options) -> None:
        self.options = options

    def check(self, allocator: Allocator, clients: Mapping[str, ModelOptions]) -> None:
        """See Host.check: neither plays a part."""

    def phases(self, party: Party) -> Mapping[str, Phase]:
        """See Host.phases."""
        return dict.fromkeys(("evaluate", "study"), Phase(replies=REPORT))

    def plan(self, round: int, objective: Objective) -> tuple[Step, ...]:
        """See Host.plan."""
        if round == 0:
            return tuple(Step(side, "evaluate", Verb.ANSWER, "test") for side in ("client", "server"))
        return (
            Step("client", "private", Verb.STUDY, "private", study="private"),
            Step("client", "private-more", Verb.STUDY, "private", study="distil"),
            Step("client", "evaluate", Verb.ANSWER, "test"),
        )

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """See Host.serve."""
        phase = "study" if round else "evaluate"
        pending = exchange.ask(phase, round, {client: {} for client in exchange.clients})
        if round == 0:
            evaluate_party(party, round)
        collect(party, pending.wait())

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        if phase == "study":
            lessons = gold_lessons(party, party.private)
            for part, options in (("private", party.studies.private), ("private-more", party.studies.distil)):
                study(party, lessons, sft(), options, round=round, phase=part)
        evaluate_party(party, round)
        return report_payload(party)
