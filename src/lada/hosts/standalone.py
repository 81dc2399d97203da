"""Standalone: every client studies its private data alone. The floor that collaboration has to rise above.

It studies as many steps as a collaborating client: those that the other spends on lessons go into private data too.
"""

from collections.abc import Mapping

from lada.allocators.base import Allocator
from lada.core.registry import Options
from lada.hosts.base import Bare
from lada.models.objective import Objective
from lada.models.options import ModelOptions
from lada.rounds.base import Exchange, Payload, Phase, Step
from lada.rounds.outline import EVALUATIONS, OF_CLIENTS, evaluate_everybody, studying_both
from lada.rounds.party import Party
from lada.rounds.reports import REPORT, collect, report_payload
from lada.rounds.steps import evaluate_party, gold_lessons, study_both


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
            return EVALUATIONS
        return (
            *studying_both("private"),
            *OF_CLIENTS,
        )

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """See Host.serve."""
        if round == 0:
            evaluate_everybody(party, exchange, round)
        else:
            collect(party, exchange.ask("study", round, {client: {} for client in exchange.clients}).wait())

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        if phase == "study":
            study_both(party, gold_lessons(party, party.private), round=round, phase="private")
        evaluate_party(party, round)
        return report_payload(party)
