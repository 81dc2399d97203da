"""What hosts have in common whose clients share one SLM, of which the server keeps a copy that it teaches.

One round:

    clients   go on with the newest adapter, study their private data, send what became of it           `study`
    server    makes one adapter of them; its SLM, with that one, is taught
    clients   go on with the adapter that the SLM has now                                              `take`

Public text and distributions stay at the server: adapters are all that crosses. A client studies as many steps or
tokens as one that collaborates by knowledge does in all; what the SLM is taught at the server comes on top.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, TypeVar

from lada.aggregators.base import Weights
from lada.allocators.base import Allocator
from lada.codecs.adapters import Adapter
from lada.core.errors import InputError
from lada.core.terms import Verb
from lada.hosts.base import Framework
from lada.models.learners import LearnerOptions
from lada.models.objective import Objective
from lada.rounds.allocating import check_takes_labels
from lada.rounds.averaging import (
    ADAPTER,
    catch_up,
    check_alike,
    fix_outline,
    handed_out,
    newest_weights,
    pool,
    take_adapter,
    tell_adapter,
)
from lada.rounds.base import Exchange, Kinds, Payload, Phase, Step
from lada.rounds.options import SharedSlmOptions
from lada.rounds.outline import EVALUATIONS, OF_CLIENTS, evaluate_everybody, learning, studying_both
from lada.rounds.party import SHARED_SLM, Party
from lada.rounds.reports import REPORT, collect, report_payload
from lada.rounds.soft import check_wants_soft_targets
from lada.rounds.steps import evaluate_party, gold_lessons, study_both
from lada.rounds.wire import write

Prepared = TypeVar("Prepared")


class SharesSlm(Framework, ABC, Generic[Prepared]):
    """A host whose clients share one SLM; what that is taught at the server is each host's own."""

    name: str
    llm_learns: bool

    def __init__(self, options: SharedSlmOptions) -> None:
        self.options = options

    @abstractmethod
    def prepare(self, party: Party, round: int) -> Prepared:
        """Return what the LLM knows, made while the clients study."""

    @abstractmethod
    def teach(self, party: Party, slm: Party, round: int, told: Mapping[str, Weights], prepared: Prepared) -> None:
        """Teach the SLM, which has the adapter made of those that the clients `told`."""

    def check(self, allocator: Allocator, clients: Mapping[str, LearnerOptions]) -> None:
        """See Host.check."""
        check_takes_labels(allocator, f"host: {self.name!r} works on gold texts", "plugin none")
        if not clients:
            raise InputError(
                f"clients: host {self.name!r} has a copy of their model at the server, and the configuration names "
                "none; expected the same clients.model for all, also in a deployment"
            )
        check_alike(clients, f"host {self.name!r}")
        self.options.aggregator[1].check(len(clients))

    def phases(self, party: Party) -> Mapping[str, Phase]:
        """See Host.phases."""
        adapter = frozenset({ADAPTER})
        return {
            "evaluate": Phase(replies=REPORT),
            "study": Phase(Kinds(may=adapter), Kinds(adapter) | REPORT),
            "take": Phase(Kinds(adapter), REPORT),
        }

    def plan(self, round: int, objective: Objective) -> tuple[Step, ...]:
        """See Host.plan. What the shared SLM does is counted as if the LLM did it, beside which it is small."""
        check_wants_soft_targets(self.name, objective)
        if round == 0:
            return EVALUATIONS
        share = Step("server", "share", None, "private", sends=(ADAPTER,))
        return (
            *((share,) if round == 1 else ()),
            *studying_both("private"),
            Step("client", "share", None, "private", sends=(ADAPTER,)),
            Step("server", "answer", Verb.JUDGE, "public"),
            Step("server", "score", Verb.LOG_PROBS, "public"),
            *learning("server", "labels"),
            share,
            *(EVALUATIONS if self.llm_learns else OF_CLIENTS),
        )

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """See Host.serve."""
        if round == 0:
            evaluate_everybody(party, exchange, round)
            return
        slm = party.open_slm()
        if ADAPTER not in party.memory:
            party.memory[ADAPTER] = write(party, ADAPTER, Adapter(slm.learner.adapter(), 0))
        fix_outline(party, newest_weights(party))
        pending = exchange.ask("study", round, catch_up(party, exchange.clients))
        prepared = self.prepare(party, round)
        replies = pending.wait()
        collect(party, replies)
        pooled = pool(party, replies, round, self.options)
        slm.load_adapter(pooled.found.weights)
        self.teach(party, slm, round, pooled.found.clipped, prepared)
        collect(party, {SHARED_SLM: report_payload(slm)})
        newest = write(party, ADAPTER, Adapter(slm.learner.adapter(), 0))
        pending = exchange.ask("take", round, {client: {ADAPTER: newest} for client in pooled.found.by_client})
        if self.llm_learns:
            evaluate_party(party, round)
        replies = pending.wait()
        collect(party, replies)
        handed_out(party, newest, replies)

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        if ADAPTER in payload:
            take_adapter(party, payload)
        if phase == "study":
            study_both(party, gold_lessons(party, party.private), round=round, phase="private")
            return {ADAPTER: tell_adapter(party), **report_payload(party)}
        evaluate_party(party, round)
        return report_payload(party)
