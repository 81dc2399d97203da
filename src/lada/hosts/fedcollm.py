"""FedCoLLM: clients share one SLM, whose adapters are averaged; LLM and SLM then teach each other at the server.

Source: arXiv 2411.11707. One round:

    clients   go on with the newest adapter, study their private data, send what became of it           `study`
    server    averages the adapters into its own copy of the SLM; LLM and SLM score the gold texts, and each studies
              them with the other's distributions

                  LLM   CE + λ · KL(f ‖ g)      the target is g, the SLM's, as it was before the study
                  SLM   CE + λ · KL(g ‖ f)      the target is f, the LLM's, likewise

    clients   go on with the adapter that the SLM has now                                              `take`

Both divergences are of the student from the target, `form: reverse_kl`, and flow back into the student alone. Public
text and distributions stay at the server: adapters are all that crosses.
"""

from collections.abc import Mapping

from pydantic import Field

from lada.allocators.base import Allocator
from lada.codecs import adapters
from lada.core.errors import InputError
from lada.core.registry import Options
from lada.core.terms import Knowledge, Verb
from lada.hosts.aggregating import Rule, check_rule
from lada.hosts.allocating import allocate, check_takes_labels, embed_public
from lada.hosts.averaging import (
    ADAPTER,
    average_adapters,
    catch_up,
    check_alike,
    handed_out,
    take_adapter,
    tell_adapter,
)
from lada.hosts.base import HOSTS, Bare, Exchange, Kinds, Payload, Phase, Step
from lada.hosts.distilling import CLIENT_REPLAY, SERVER_REPLAY, Replay, and_labels, distil, lessons_of
from lada.hosts.knowledge import Offer, know, score
from lada.hosts.party import SHARED_SLM, Party
from lada.hosts.reports import REPORT, collect, report_payload
from lada.hosts.rounds import EVALUATIONS, evaluate_everybody, learning
from lada.hosts.soft import check_wants_soft_targets
from lada.hosts.steps import evaluate_party, gold_lessons, sft, study
from lada.models.objective import Objective
from lada.models.options import ModelOptions


class FedcollmOptions(Options):
    """Options of FedCoLLM. All clients have the same model, tuned by LoRA."""

    aggregation: Rule = "mean"
    """How adapters become one: the mean by private samples, or a rule that a few malicious clients cannot spoil."""
    malicious: int = Field(0, ge=0)
    """How many clients `trimmed_mean`, `krum`, `multi_krum` and `bulyan` are to hold against."""
    slm_replay: Replay = CLIENT_REPLAY.model_copy(update={"private": 0.0})
    """What the shared SLM replays while it learns from the LLM. It has no private samples."""
    server_replay: Replay = SERVER_REPLAY
    """What the LLM replays while it learns from the SLM."""


@HOSTS.register(
    "fedcollm",
    options=FedcollmOptions,
    paper="arXiv 2411.11707",
    status="our reading",
    teacher_needs={Verb.ANSWER, Verb.JUDGE, Verb.LOG_PROBS},
    student_needs={Verb.ANSWER, Verb.JUDGE, Verb.EMBED, Verb.STUDY},
)
class Fedcollm:
    """Clients share one SLM and average its adapters; at the server SLM and LLM then learn from each other."""

    bare = Bare("all", "soft_targets", {"form": "reverse_kl", "label_weight": 0.5})
    pools_private = False

    def __init__(self, options: FedcollmOptions) -> None:
        self.options = options

    def check(self, allocator: Allocator, clients: Mapping[str, ModelOptions]) -> None:
        """See Host.check."""
        check_takes_labels(allocator, "host: 'fedcollm' works on gold texts", "plugin none")
        if not clients:
            raise InputError(
                "clients: host 'fedcollm' has a copy of their model at the server, and the configuration names none; "
                "expected the same clients.model for all, also in a deployment"
            )
        check_alike(clients, "host 'fedcollm'")
        check_rule(self.options.aggregation, self.options.malicious, len(clients))

    def phases(self, party: Party) -> Mapping[str, Phase]:
        """See Host.phases."""
        adapter = frozenset({ADAPTER})
        return {
            "evaluate": Phase(replies=REPORT),
            "study": Phase(Kinds(may=adapter), Kinds(adapter) | REPORT),
            "take": Phase(Kinds(adapter), REPORT),
        }

    def plan(self, round: int, objective: Objective) -> tuple[Step, ...]:
        """See Host.plan. What the shared SLM does is not in it but for the adapters that cross."""
        check_wants_soft_targets("fedcollm", objective)
        if round == 0:
            return EVALUATIONS
        share = Step("server", "share", None, "private", sends=(ADAPTER,))
        return (
            *((share,) if round == 1 else ()),
            Step("client", "private", Verb.STUDY, "private", study="private", sends=(ADAPTER,)),
            Step("server", "answer", Verb.JUDGE, "public"),
            Step("server", "score", Verb.LOG_PROBS, "public"),
            *learning("server", "labels"),
            share,
            *EVALUATIONS,
        )

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """See Host.serve."""
        if round == 0:
            evaluate_everybody(party, exchange, round)
            return
        slm = party.open_slm()
        party.memory.setdefault(ADAPTER, adapters.encode(slm.learner.adapter(), 0))
        pending = exchange.ask("study", round, catch_up(party, exchange.clients))
        mine = know(party, round, "answer", "labels")
        scores = score(party, mine)
        replies = pending.wait()
        collect(party, replies)
        average, kept = average_adapters(party, replies, round, self.options.aggregation, self.options.malicious)
        take_adapter(slm, average)
        self._teach_each_other(party, slm, round, Offer(mine, scores, party.learner.vocabulary()))
        collect(party, {SHARED_SLM: report_payload(slm)})
        newest = adapters.encode(slm.learner.adapter(), 0)
        pending = exchange.ask("take", round, {client: {ADAPTER: newest} for client in kept})
        evaluate_party(party, round)
        replies = pending.wait()
        collect(party, replies)
        handed_out(party, newest, replies)

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        if ADAPTER in payload:
            take_adapter(party, payload[ADAPTER])
        if phase == "study":
            lessons = gold_lessons(party, party.private)
            study(party, lessons, sft(), party.studies.private, round=round, phase="private")
            return {ADAPTER: tell_adapter(party), **report_payload(party)}
        evaluate_party(party, round)
        return report_payload(party)

    def _teach_each_other(self, llm: Party, slm: Party, round: int, llm_says: Offer) -> None:
        """Let both learn what the other knew before either of them studied."""
        known = know(slm, round, "answer", "labels")
        slm_says = Offer(known, score(slm, known), slm.learner.vocabulary())
        _learn(llm, round, slm_says, llm_says.knowledge, self.options.server_replay)
        _learn(slm, round, llm_says, known, self.options.slm_replay)


def _learn(student: Party, round: int, offer: Offer, mine: Knowledge, replay: Replay) -> None:
    """Let a party study all gold texts, those that its allocator chooses with the other's distributions."""
    allocation = allocate(student, round, offer.knowledge, mine, embed_public(student, round))
    lessons = and_labels(student, lessons_of(student, allocation, offer, mine))
    distil(student, round, lessons, mine, replay=replay, teachers=offer.knowledge.party)
