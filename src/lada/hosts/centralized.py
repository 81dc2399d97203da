"""Centralized: all private data in one place, the ceiling that collaboration is held against.

It keeps nothing private. Each client sends its private samples once; from then on every SLM, and the LLM, studies
those of all clients. So it runs on one machine alone (`engine: local`), the ledger has the samples as kind `samples`,
and an audit finds them. An SLM studies as many steps or tokens as a collaborating client does in all, and the LLM as
many as it would study of what it gets from clients.
"""

from collections.abc import Mapping
from functools import partial

from lada.allocators.base import Allocator
from lada.codecs.samples import Pooled
from lada.core.registry import Options
from lada.core.terms import Lesson, Sample, Verb
from lada.hosts.base import Framework
from lada.models.learners import LearnerOptions
from lada.models.objective import Objective
from lada.rounds.base import Exchange, Kinds, Payload, Phase, Step
from lada.rounds.outline import EVALUATIONS, evaluate_everybody, studying_both
from lada.rounds.party import Party
from lada.rounds.pooling import SAMPLES, hear_samples
from lada.rounds.replies import each
from lada.rounds.reports import REPORT, collect, report_payload
from lada.rounds.steps import evaluate_party, gold_lessons, sft, study, study_both
from lada.rounds.wire import write

POOLED = Kinds(frozenset({SAMPLES}))


class Centralized(Framework):
    """All private data in one place, where every model studies it: a ceiling, and no federation."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def check(self, allocator: Allocator, clients: Mapping[str, LearnerOptions]) -> None:
        """See Host.check: neither plays a part."""

    def phases(self, party: Party) -> Mapping[str, Phase]:
        """See Host.phases."""
        return {
            "evaluate": Phase(replies=REPORT),
            "pool": Phase(replies=POOLED),
            "study": Phase(POOLED, REPORT),
        }

    def plan(self, round: int, objective: Objective) -> tuple[Step, ...]:
        """See Host.plan."""
        if round == 0:
            return EVALUATIONS
        return (
            *((Step("client", "pool", None, "private", sends=(SAMPLES,)),) if round == 1 else ()),
            Step("server", "pool", None, "private", sends=(SAMPLES,)),
            *studying_both("pooled"),
            Step("server", "pooled", Verb.STUDY, "private", study="distil"),
            *EVALUATIONS,
        )

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """See Host.serve. A client that was not heard yet is asked for its samples before anybody studies."""
        if round == 0:
            evaluate_everybody(party, exchange, round)
            return
        if unheard := [client for client in exchange.clients if _of(client) not in party.memory]:
            replies = exchange.ask("pool", round, {client: {} for client in unheard}).wait()
            for client in each(party, exchange, "pool", round, replies, partial(_lessons, party)):
                party.memory[_of(client)] = replies[client][SAMPLES]
        everything = _everything(party)
        told = {SAMPLES: write(party, SAMPLES, Pooled(party.name, round, tuple(everything)))}
        there = [client for client in exchange.clients if _of(client) in party.memory]
        pending = exchange.ask("study", round, dict.fromkeys(there, told))
        study(party, gold_lessons(party, everything), sft(), party.studies.distil, round=round, phase="pooled")
        evaluate_party(party, round)
        collect(party, pending.wait())

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        if phase == "pool":
            return {SAMPLES: write(party, SAMPLES, Pooled(party.name, round, party.private))}
        if phase == "study":
            study_both(party, gold_lessons(party, hear_samples(party, payload)), round=round, phase="pooled")
        evaluate_party(party, round)
        return report_payload(party)


def _lessons(party: Party, _client: str, reply: Payload) -> list[Lesson]:
    """Return what a client's samples teach, made to see whether they can be used."""
    return gold_lessons(party, hear_samples(party, reply))


def _of(client: str) -> str:
    """Return under which key the server keeps the samples of a client."""
    return f"{SAMPLES} {client}"


def _everything(party: Party) -> list[Sample]:
    """Return the samples of all clients heard so far, client by client."""
    kept = sorted(key for key in party.memory if key.startswith(_of("")))
    return [sample for key in kept for sample in hear_samples(party, {SAMPLES: party.memory[key]})]
