"""FedMKT's mutual round (arXiv 2406.02224).

One round:

    clients   study their private data; tell what they know of the public samples                `contribute`
              (which an LLM that only teaches does not need)
    server    knows them too, in later rounds from the round before; per client an allocator says which of its samples
              to learn; where several clients offer one, the fuser takes one; the LLM studies, then tells what it knows
    clients   hear the LLM; an allocator says which samples to learn; they study                 `learn`
    clients   with one model: go on with the average of their adapters                          `average`

What is known of a sample is either a path that the party wrote, or, as in the paper, its loss on the gold text and the
likeliest tokens at each position of it (see lada.hosts.knowledge).

A learner that studies another's paths forgets what these do not cover; so a share of every study is replayed: own data
and, for the server, its own paths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from lada.allocators.base import Allocator
from lada.core.bounds import Rounds
from lada.core.errors import InputError
from lada.core.terms import Allocation, Knowledge, Lesson, Path, Verb
from lada.fusers.least_loss import LeastLoss, LeastLossOptions
from lada.hosts.aggregating import check_rule
from lada.hosts.allocating import allocate, check_takes_labels, judge
from lada.hosts.averaging import (
    ADAPTER,
    average_adapters,
    check_alike,
    handed_out,
    take_adapter,
    tell_adapter,
)
from lada.hosts.base import HOSTS, Bare, Exchange, Kinds, Payload, Phase, Step
from lada.hosts.distilling import CLIENT_REPLAY, SERVER_REPLAY, Replay, and_labels, distil, lessons_of
from lada.hosts.gain import limit_by_gain, validation
from lada.hosts.knowledge import Kind, Offer, encode, hear, keep_own, kinds_heard, know, own, tell
from lada.hosts.party import Party
from lada.hosts.replies import each
from lada.hosts.reports import REPORT, collect, report_payload
from lada.hosts.rounds import EVALUATIONS, OF_CLIENTS, evaluate_everybody, learning, studying_both, telling
from lada.hosts.secure import KEYS, MASKED, PHASES, SecureOptions, check_enough
from lada.hosts.secure_client import advertise, masked_reply, started_from
from lada.hosts.secure_server import average_masked
from lada.hosts.soft import with_soft_targets
from lada.hosts.steps import evaluate_party, gold_lessons, sft, study, study_both
from lada.hosts.trust import ReadOff, doubted, keep_first, limit_by_gold_texts, limit_by_record
from lada.models.objective import Objective
from lada.models.options import ModelOptions


class FedmktOptions(SecureOptions):
    """Options of the mutual round."""

    directions: Literal["both", "llm_to_slm", "slm_to_llm"] = "both"
    """Both ways; from the LLM to the SLMs alone, as with an LLM behind an API; or from the SLMs to the LLM alone, where
    clients study private data for their other budget too."""
    knowledge: Kind = "paths"
    """`paths`: each party's own reasoning paths, what plug-ins choose among. `labels`: the gold texts of the public
    samples, as in the paper: all are studied, and those that the allocation chooses with the teacher's soft targets.
    Under `plugin: none` the default is `labels`."""
    tries: int = Field(1, ge=1, le=1024)
    """How many paths a party writes at most for a public question, until its answer is right; it tells of one. Of no
    use where the gold answer is unknown."""
    average_adapters: bool = False
    """Clients with one model average their LoRA adapters after each round: the paper's homogeneous setting."""
    trust: Annotated[Literal["auto", "off", "agreement", "gain"], ReadOff] = "auto"
    """What a client's word is worth to the LLM. `agreement`: who answers far worse than the other clients teaches it
    nothing; see lada.hosts.trust. `auto`: that, and for questions without a gold answer the LLM's own judgement in the
    place of what clients claim. With labels, whose distributions contradict the gold
    texts teaches nothing. `gain`: how much a few steps on a client's paths improve the LLM on samples of its own; see
    lada.hosts.gain. `off`: clients are believed."""
    trust_steps: int = Field(16, ge=1, le=10_000_000)
    """Steps on each client's paths by which `gain` is measured."""
    client_replay: Replay = CLIENT_REPLAY
    """What a client replays beside the LLM's paths."""
    server_replay: Replay = SERVER_REPLAY
    """What the server replays beside its clients' paths."""
    private_rounds: Rounds | None = None
    """Study private data in the first so many rounds only; None: in every round, as the paper does."""


@HOSTS.register(
    "fedmkt",
    options=FedmktOptions,
    paper="arXiv 2406.02224",
    status="our reading",
    teacher_needs={Verb.ANSWER},
    student_needs={Verb.ANSWER, Verb.JUDGE, Verb.STUDY},
)
class Fedmkt:
    """LLM and SLMs learn from each other on public questions, both ways."""

    bare = Bare("dual_min_ce", "soft_targets", options={"knowledge": "labels"})
    pools_private = False

    def __init__(self, options: FedmktOptions) -> None:
        self.options = options

    def check(self, allocator: Allocator, clients: Mapping[str, ModelOptions]) -> None:
        """See Host.check."""
        if self._kind == "labels":
            check_takes_labels(allocator, "host.options.knowledge: 'labels'", "'paths' (under plugin none name it)")
        if self._kind == "labels" and self.options.trust == "gain":
            raise InputError(
                "host.options.trust: 'gain' measures what a client's own paths teach, and with knowledge 'labels' all "
                "study the gold texts; expected knowledge 'paths', or another trust"
            )
        if self.options.secure_aggregation and not self.options.average_adapters:
            raise InputError(
                "host.options.secure_aggregation: there is nothing to add up without average_adapters; expected "
                "average_adapters: true, or secure_aggregation: false"
            )
        if self.options.average_adapters and not self._teaches:
            raise InputError(
                "host.options.average_adapters: adapters are averaged after clients learnt from the LLM, and with "
                "directions 'slm_to_llm' they do not; expected directions 'both' or 'llm_to_slm', or false"
            )
        if self.options.average_adapters and clients:  # of clients that bring their own models nothing is known
            check_alike(clients, "host.options.average_adapters")
            check_rule(self.options.aggregation, self.options.malicious, len(clients))
            if self.options.secure_aggregation:
                check_enough(len(clients))

    def phases(self, party: Party) -> Mapping[str, Phase]:
        """See Host.phases."""
        told, adapter = kinds_heard(party, self._kind), Kinds(frozenset({ADAPTER}))
        averages, secure = self.options.average_adapters, self.options.secure_aggregation
        more = (Kinds(frozenset({KEYS})) if secure else adapter) if averages else Kinds()
        return {
            "evaluate": Phase(replies=REPORT),
            "contribute": Phase(replies=told | REPORT if self._mutual else REPORT),
            **({"learn": Phase(told, more | REPORT)} if self._teaches else {}),
            **(PHASES if secure else {}),
            **({"average": Phase(Kinds(may=adapter.must) if secure else adapter, REPORT)} if averages else {}),
        }

    def plan(self, round: int, objective: Objective) -> tuple[Step, ...]:
        """See Host.plan."""
        if round == 0:
            return EVALUATIONS
        first, more = studying_both("private")
        private = (first,) if self._teaches else (first, more)
        probe = (Step("server", "trust", Verb.STUDY, "lessons"),) if self._probes else ()
        known = round > 1 and self._teaches  # nothing changes the LLM after it has told what it knows
        learn_up = learning("server", self._kind, probe) if self._mutual else ()
        return (
            *(private if self._studies_private(round) else ()),
            *telling("client", "answer", self._kind, round, objective, sends=self._mutual),
            *telling("server", "answer", self._kind, round, objective, sends=not self._mutual, known=known),
            *learn_up,
            *(telling("server", "answer-anew", self._kind, round, objective, sends=True) if self._answers_anew else ()),
            *(learning("client", self._kind) if self._teaches else ()),
            *(self._averaging() if self.options.average_adapters else ()),
            *(EVALUATIONS if self._mutual else OF_CLIENTS),
        )

    def _averaging(self) -> tuple[Step, ...]:
        told = MASKED if self.options.secure_aggregation else ADAPTER
        return (
            Step("client", "average", None, "private", sends=(told,)),
            Step("server", "average", None, "private", sends=(ADAPTER,)),
        )

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """See Host.serve. What the server can do meanwhile, it does while the clients work."""
        if self.options.secure_aggregation:
            check_enough(len(exchange.clients))
        if round == 0:
            if self._probes:
                validation(party)  # before anything is trained
            evaluate_everybody(party, exchange, round)
            return
        pending = exchange.ask("contribute", round, {client: {} for client in exchange.clients})
        mine = know(party, round, "answer", self._kind, tries=self.options.tries)
        if self._records(party):
            keep_first(party, mine)
        replies = pending.wait()
        collect(party, replies)
        if self._mutual:
            offers = each(party, exchange, "contribute", round, replies, partial(self._hear, party, round))
            used = self._learn_from_clients(party, exchange, round, mine, offers)
            replies = {client: replies[client] for client in used}
        if not self._teaches:
            evaluate_everybody(party, exchange, round)
            return
        if self._mutual:
            mine = know(party, round, "answer-anew", self._kind, tries=self.options.tries)
        pending = exchange.ask("learn", round, dict.fromkeys(replies, tell(party, mine, self._kind)))
        evaluate_party(party, round)
        replies = pending.wait()
        collect(party, replies)
        if self.options.average_adapters:
            if self.options.secure_aggregation:
                average, kept = average_masked(party, exchange, round, replies)
            else:
                average, kept = average_adapters(party, replies, round, self.options)
            newest = {} if average is None else {ADAPTER: average}
            replies = exchange.ask("average", round, dict.fromkeys(kept, newest)).wait()
            collect(party, replies)
            if average is not None:
                handed_out(party, average, replies)

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        if phase in PHASES:
            return masked_reply(phase, party, round, payload, self.options.update_norm)
        if phase == "contribute":
            return self._contribute(party, round)
        if phase == "learn":
            offer = hear(party, payload, None, round, self._kind)
            mine = own(party, round, self._kind)
            self._learn_from_server(party, round, offer, mine)
            if self.options.average_adapters:
                secure = self.options.secure_aggregation
                return {**(advertise(party) if secure else {ADAPTER: tell_adapter(party)}), **report_payload(party)}
        if ADAPTER in payload:
            take_adapter(party, payload[ADAPTER])
            if self.options.secure_aggregation:
                started_from(party)
        evaluate_party(party, round)
        return report_payload(party)

    @property
    def _mutual(self) -> bool:
        return self.options.directions != "llm_to_slm"

    @property
    def _teaches(self) -> bool:
        return self.options.directions != "slm_to_llm"

    @property
    def _answers_anew(self) -> bool:
        return self._mutual and self._teaches

    @property
    def _probes(self) -> bool:
        return self._mutual and self.options.trust == "gain"

    def _records(self, party: Party) -> bool:
        """Whether clients' answers are held against gold ones and, where there are none, the LLM's first ones."""
        return self.options.trust in ("auto", "agreement") and self._mutual and self._kind == "paths"

    @property
    def _kind(self) -> Kind:
        return self.options.knowledge

    def _studies_private(self, round: int) -> bool:
        return self.options.private_rounds is None or round <= self.options.private_rounds

    def _contribute(self, party: Party, round: int) -> Payload:
        if self._studies_private(round):
            lessons = gold_lessons(party, party.private)
            if self._teaches:
                study(party, lessons, sft(), party.studies.private, round=round, phase="private")
            else:
                study_both(party, lessons, round=round, phase="private")
        mine = know(party, round, "answer", self._kind, tries=self.options.tries)
        keep_own(party, encode(mine, self._kind))  # as it is, whatever is taken out of what it tells
        told = tell(party, mine, self._kind) if self._mutual else {}
        return {**told, **report_payload(party)}

    def _learn_from_server(self, party: Party, round: int, offer: Offer, mine: Knowledge) -> None:
        """LLM→SLM: a client allocates and studies."""
        allocation = allocate(party, round, offer.knowledge, mine)
        lessons = self._and_labels(party, lessons_of(party, allocation, offer, mine))
        teacher = offer.knowledge.party
        distil(party, round, lessons, mine, replay=self.options.client_replay, teachers=teacher)

    def _hear(self, party: Party, round: int, client: str, reply: Payload) -> Offer:
        return hear(party, reply, client, round, self._kind)

    def _learn_from_clients(
        self,
        party: Party,
        exchange: Exchange,
        round: int,
        mine: Knowledge,
        offers: Mapping[str, Offer],
    ) -> list[str]:
        """SLM→LLM: the server allocates per client, fuses and studies. Returns the clients of which it could."""

        def choose(_client: str, offer: Offer) -> tuple[Offer, Allocation]:
            judged = judge(party, round, offer.knowledge, mine)
            if self.options.trust == "auto":
                offer = replace(offer, knowledge=doubted(offer.knowledge, judged, mine))
            return offer, allocate(party, round, offer.knowledge, mine, judged)

        chosen = each(party, exchange, "contribute", round, offers, choose)
        offers = {client: offer for client, (offer, _) in chosen.items()}
        allocations = {client: allocation for client, (_, allocation) in chosen.items()}
        told = {client: offer.knowledge for client, offer in offers.items()}
        soft: Mapping[str, Sequence[Lesson]] = {}
        if self._records(party):
            allocations = limit_by_record(party, allocations, told, round)
        elif self.options.trust == "auto" and self._kind == "labels":
            checked = gold_lessons(party, party.task.public)
            soft = each(
                party, exchange, "contribute", round, offers, lambda _, offer: with_soft_targets(party, checked, offer)
            )
            allocations = {client: allocations[client] for client in soft}
            allocations = limit_by_gold_texts(party, allocations, checked, soft, mine, round)
        elif self.options.trust == "gain":
            allocations = limit_by_gain(party, allocations, told, round, self.options.trust_steps)
        proposals: dict[str, dict[str, Path]] = {}
        for client, allocation in allocations.items():
            paths = offers[client].knowledge.by_id()
            for choice in allocation.choices:
                if choice.source == "teacher":
                    proposals.setdefault(choice.sample_id, {})[client] = paths[choice.sample_id]
        # Which offers beat the LLM's own path was the allocator's to say; here they are only held against each other.
        fuser = LeastLoss(LeastLossOptions(below_own=False))
        winners = {sample_id: fuser.fuse(offered) for sample_id, offered in proposals.items()}

        def lessons_won(client: str, allocation: Allocation) -> list[Lesson]:
            won = tuple(choice for choice in allocation.choices if winners.get(choice.sample_id) == client)
            return lessons_of(
                party, Allocation(client, party.name, round, won), offers[client], mine, soft.get(client, ())
            )

        by_client = each(party, exchange, "contribute", round, allocations, lessons_won)
        lessons = self._and_labels(party, [lesson for lessons in by_client.values() for lesson in lessons])
        distil(party, round, lessons, mine, replay=self.options.server_replay, teachers="its clients")
        return list(by_client)

    def _and_labels(self, party: Party, lessons: list[Lesson]) -> list[Lesson]:
        return lessons if self._kind == "paths" else and_labels(party, lessons)
