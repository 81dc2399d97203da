"""FedMKT's mutual round (arXiv 2406.02224).

One round:

    clients   study their private data; tell what they know of the public samples                `contribute`
              (which an LLM that only teaches does not need)
    server    knows them too, in later rounds from the round before; per client an allocator says which of its samples
              to learn; where several clients offer one, the fuser takes one; the LLM studies, then tells what it knows
    clients   hear the LLM; an allocator says which samples to learn; they study                 `learn`
    clients   with one model: go on with the average of their adapters                          `average`

What is known of a sample is either a path that the party wrote, or, as in the paper, its loss on the gold text and the
likeliest tokens at each position of it (see lada.rounds.knowledge).

A learner that studies another's paths forgets what these do not cover; so a share of every study is replayed: own data
and, for the server, its own paths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from lada.allocators.base import Allocator
from lada.core.choice import Choice
from lada.core.errors import InputError
from lada.core.terms import Allocation, Knowledge, Lesson, Verb
from lada.fusers.base import FUSERS
from lada.hosts.base import Bare, Framework
from lada.hosts.catalogue.fedmkt import FedmktOptions
from lada.models.learners import LearnerOptions
from lada.models.objective import Objective
from lada.rounds.allocating import allocate, check_takes_labels, judge
from lada.rounds.averaging import (
    ADAPTER,
    check_alike,
    handed_out,
    pool,
    take_adapter,
    tell_adapter,
)
from lada.rounds.base import Exchange, Kinds, Payload, Phase, Step
from lada.rounds.distilling import and_labels, distil, lessons_of
from lada.rounds.fusing import Fusion, Won
from lada.rounds.gain import limit_by_gain, validation
from lada.rounds.knowledge import Kind, Offer, encode, hear, keep_own, kinds_heard, know, own, tell, tell_each
from lada.rounds.outline import EVALUATIONS, OF_CLIENTS, evaluate_everybody, learning, studying_both, telling
from lada.rounds.party import Party
from lada.rounds.replies import each
from lada.rounds.reports import REPORT, collect, report_payload
from lada.rounds.secure import KEYS, MASKED, PHASES, check_enough
from lada.rounds.secure_client import advertise, masked_reply, started_from
from lada.rounds.secure_server import average_masked
from lada.rounds.soft import with_soft_targets
from lada.rounds.states import address, keep_state, state_of
from lada.rounds.steps import evaluate_party, gold_lessons, sft, study, study_both
from lada.rounds.track_records import Records
from lada.rounds.trust import doubted, limit_by_gold_texts, untrusted, without_paths


class Fedmkt(Framework):
    """LLM and SLMs learn from each other on public questions, both ways."""

    bare = Bare(
        {"allocator": Choice(name="dual_min_ce"), "objective": Choice(name="soft_targets")},
        options={"knowledge": "labels"},
        one_way={"directions": "llm_to_slm"},
    )

    def __init__(self, options: FedmktOptions) -> None:
        self.options = options
        self.server_studies = self._mutual
        self.client_replay = options.client_replay

    def check(self, allocator: Allocator, clients: Mapping[str, LearnerOptions]) -> None:
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
            self.options.aggregator[1].check(len(clients))
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
        records = Records(party, mine) if self._records(party) else None
        replies = pending.wait(records and records.look)
        collect(party, replies)
        if self._mutual:
            used = self._learn_from_clients(party, exchange, round, mine, replies, records)
            replies = {client: replies[client] for client in used}
        if not self._teaches:
            evaluate_everybody(party, exchange, round)
            return
        if self._mutual:
            mine = know(party, round, "answer-anew", self._kind, tries=self.options.tries)
        pending = exchange.ask("learn", round, tell_each(party, mine, self._kind, replies))
        evaluate_party(party, round)
        replies = pending.wait()
        collect(party, replies)
        if self.options.average_adapters:
            if self.options.secure_aggregation:
                average, kept = average_masked(party, exchange, round, replies)
                shared = dict.fromkeys(kept, {} if average is None else {ADAPTER: average})
            else:
                pooled = pool(party, replies, round, self.options)
                average, shared = pooled.newest, pooled.shared()
            replies = exchange.ask("average", round, shared).wait()
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
            take_adapter(party, payload)
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

    def _learn_from_clients(
        self,
        party: Party,
        exchange: Exchange,
        round: int,
        mine: Knowledge,
        replies: Mapping[str, Payload],
        records: Records | None,
    ) -> list[str]:
        """SLM→LLM: the server allocates per client, fuses and studies. Returns the clients of which it could.

        What a client told is read when its turn comes and let go of after it. Only a trust that compares what all say
        of the same texts, or what all teach, has them in memory at once.
        """
        name, fuser = party.fuser
        key = address(FUSERS.kind, name, "run")
        fusion = Fusion(fuser, state_of(party, fuser, key), party.name, round, mine.by_id())
        each_client = partial(each, party, exchange, "contribute", round)

        def choose(client: str, reply: Payload) -> tuple[Offer, Allocation]:
            offer = hear(party, reply, client, round, self._kind)
            judged = judge(party, round, offer.knowledge, mine)
            if self.options.trust == "auto":
                offer = replace(offer, knowledge=doubted(offer.knowledge, judged, mine))
            return offer, allocate(party, round, offer.knowledge, mine, judged)

        if self._probes or (self.options.trust == "auto" and self._kind == "labels"):
            chosen = each_client(replies, choose)
            soft: Mapping[str, Sequence[Lesson]] = {}
            allocations = {client: allocation for client, (_, allocation) in chosen.items()}
            if self._probes:
                told = {client: offer.knowledge for client, (offer, _) in chosen.items()}
                allocations = limit_by_gain(party, allocations, told, round, self.options.trust_steps)
            else:
                checked = gold_lessons(party, party.task.public)
                soft = each_client(chosen, lambda _, its: with_soft_targets(party, checked, its[0]))
                allocations = {client: allocations[client] for client in soft}
                allocations = limit_by_gold_texts(party, allocations, checked, soft, mine, round)
            for client, allocation in allocations.items():
                fusion.add(chosen[client][0], allocation, soft.get(client, ()))
        else:
            its = each_client(replies, records.of) if records else {}
            against = untrusted(its)

            def add(client: str, reply: Payload) -> None:
                offer, allocation = choose(client, reply)
                if client in against:
                    allocation = without_paths(party, round, allocation, its[client], against[client])
                fusion.add(offer, allocation)

            each_client({client: replies[client] for client in its} if records else replies, add)

        def lessons_won(_client: str, won: Won) -> list[Lesson]:
            return lessons_of(party, won.allocation, won.offer, mine, won.known)

        won = fusion.won()
        keep_state(party, key, fusion.state)
        by_client = each_client(won, lessons_won)
        lessons = self._and_labels(party, [lesson for lessons in by_client.values() for lesson in lessons])
        distil(party, round, lessons, mine, replay=self.options.server_replay, teachers="its clients")
        return list(by_client)

    def _and_labels(self, party: Party, lessons: list[Lesson]) -> list[Lesson]:
        return lessons if self._kind == "paths" else and_labels(party, lessons)
