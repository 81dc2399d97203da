"""FedMKT's mutual round (arXiv 2406.02224).

One round:

    clients   study their private data; send their knowledge of the public samples               `contribute`
              (not needed by an LLM that only teaches)
    server    has its own knowledge, in later rounds from the round before; per client an allocator chooses samples
              to learn; if several clients offer one, the fuser picks one; the LLM studies, then sends its knowledge
    clients   receive that; an allocator chooses samples to learn; they study                    `learn`
    clients   with one model: continue with the average of their adapters                       `average`

Knowledge of a sample is either a path that the party wrote, or, as in the paper, its loss on the gold text and the
likeliest tokens at each position (see lada.rounds.knowledge).

A learner that studies another's paths forgets what these do not cover. A share of every study is therefore replayed:
own data and, for the server, its own paths.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from lada.allocators.base import Allocator, Candidates
from lada.allocators.reviews import Reviews
from lada.core.choice import MethodChoice
from lada.core.errors import InputError
from lada.core.terms import Allocation, Lesson, Likelihood, Sample, Verb
from lada.fusers.base import FUSERS
from lada.hosts.base import Host, PaperDefaults
from lada.hosts.options.fedmkt import FedmktOptions
from lada.models.learners import LearnerOptions
from lada.models.objective import Objective
from lada.rounds.allocating import allocate_offers, check_takes_labels, judge
from lada.rounds.averaging import ADAPTER, aggregate_updates, check_alike
from lada.rounds.base import Ask, Look, MessageSchema, Payload, Receive, Round, Slot, Step, Turn
from lada.rounds.distilling import and_labels, lessons_of
from lada.rounds.fusing import Fusion, Won
from lada.rounds.gain import check_validation, limit_by_gain
from lada.rounds.gold import check_gold
from lada.rounds.judging import judgement_kinds, with_judgements
from lada.rounds.knowledge import PATHS, KnowledgeKind, Offer, kinds_of, receive_knowledge
from lada.rounds.labels import ask_for_labels
from lada.rounds.outline import (
    EVALUATING,
    EVALUATING_SERVER,
    KEEPING_TO_JUDGE,
    MINE,
    NEWEST,
    REPORTING,
    SENT,
    STANDING,
    WRITTEN,
    allocating,
    chosen_lessons,
    distilling,
    evaluating_everybody,
    judging_clients,
    judging_server,
    keep_newest,
    knowing,
    receiving,
    send_adapter,
    sending,
    sending_texts,
    silent,
    studying_both,
    studying_private,
    take_sent,
    to_each,
)
from lada.rounds.party import Party
from lada.rounds.replies import each
from lada.rounds.reviewing import BALLOT, NO_VOTE, Reviewed, ballot_for, gathered, of_all, reviewed
from lada.rounds.secure import check_enough
from lada.rounds.secure_rounds import ADVERTISING, CHECKING_ENOUGH, averaging_masked, take_and_start
from lada.rounds.soft import with_soft_targets
from lada.rounds.states import address, keep_state, state_of
from lada.rounds.steps import gold_lessons
from lada.rounds.taking_over import taking_over, taught
from lada.rounds.track_records import Records
from lada.rounds.trust import doubted, limit_by_gold_texts, untrusted, without_paths
from lada.tasks.data import TaskData

RECORDS: Slot[Records] = Slot("clients' records")
CHOSEN: Slot[Mapping[str, tuple[Offer, Allocation]]] = Slot("choices per client")
REVIEWED: Slot[Mapping[str, Reviewed]] = Slot("what clients answered")
FUSION: Slot[Fusion] = Slot("fusion")


class _Reader(NamedTuple):
    """How the server reads its clients' replies."""

    replies: Mapping[str, Payload]
    """Those that can be used, as far as they were read."""
    read: Callable[[str, Payload], tuple[Offer, Mapping[str, Likelihood]]]
    """Takes a client and its reply, and returns its offer and the server's likelihoods of its paths."""
    reviews: Callable[[Candidates], Reviews] | None
    """Returns all parties' answers to the candidates; None if they are not needed."""


class Fedmkt(Host):
    """LLM and SLMs learn from each other on public questions, both ways."""

    bare = PaperDefaults(
        {"allocator": MethodChoice(name="dual_min_ce"), "objective": MethodChoice(name="soft_targets")},
        options={"knowledge": "labels"},
        one_way={"directions": "llm_to_slm"},
    )

    judges_texts = True

    def __init__(self, options: FedmktOptions) -> None:
        self.options = options
        self.server_studies = self._mutual
        self.client_replay = options.client_replay

    def ask(self, public: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """See Host.ask."""
        return ask_for_labels(public, self.options.label_prompt)

    def check(self, allocator: Allocator, clients: Mapping[str, LearnerOptions]) -> None:
        """See Host.check."""
        if self._kind == "labels":
            check_takes_labels(
                allocator, "host.options.knowledge: 'labels'", "'paths' (with plugin: none, set it explicitly)"
            )
        if self._kind == "paths" and self.options.label_prompt is not None:
            raise InputError(
                f"host.options.label_prompt: {self.options.label_prompt!r} asks for bare answers, but with knowledge "
                "'paths' parties study none; expected null, or knowledge 'labels'"
            )
        if self._kind == "labels" and self.options.trust == "gain":
            raise InputError(
                "host.options.trust: 'gain' measures what a client's own paths teach, but with knowledge 'labels' "
                "all parties study the gold texts; expected knowledge 'paths', or another trust"
            )
        if self.options.take_over is not None and (self._kind == "labels" or not self._teaches):
            raise InputError(
                f"host.options.take_over: {self.options.take_over} continues clients' paths for them, but here clients "
                "learn from no path of the LLM; expected knowledge 'paths' with directions 'both' or 'llm_to_slm', or "
                "null"
            )
        if self.options.secure_aggregation and not self.options.average_adapters:
            raise InputError(
                "host.options.secure_aggregation: without average_adapters there is nothing to aggregate; expected "
                "average_adapters: true, or secure_aggregation: false"
            )
        self._check_votes(allocator)
        if self.options.average_adapters and not self._teaches:
            raise InputError(
                "host.options.average_adapters: adapters are averaged after clients learn from the LLM, which they "
                "do not with directions 'slm_to_llm'; expected directions 'both' or 'llm_to_slm', or false"
            )
        if self.options.average_adapters and clients:  # nothing is known about clients that bring their own models
            check_alike(clients, "host.options.average_adapters")
            self.options.aggregator[1].check(len(clients))
            if self.options.secure_aggregation:
                check_enough(len(clients))

    def _check_votes(self, allocator: Allocator) -> None:
        if not self.options.share_votes:
            return
        for reads, key, expected in (
            (allocator.needs.reviews, "allocator", "one that compares all parties' answers, such as peer_review"),
            (self._kind == "paths", "host.options.knowledge", "'paths' (with plugin: none, set it explicitly)"),
            (self._mutual and self._teaches, "host.options.directions", "'both'"),
        ):
            if not reads:
                raise InputError(
                    f"host.options.share_votes: true has no effect with this {key}; expected {expected}, or "
                    "share_votes: false"
                )

    def check_task(self, task: TaskData) -> None:
        """See Host.check_task."""
        if self._kind == "labels":
            check_gold(task, "host.options.knowledge: 'labels'", "set knowledge: paths")
        if self._probes:
            check_validation(task)

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round. The server does as much as it can while the clients work."""
        enough = (CHECKING_ENOUGH,) if self.options.secure_aggregation else ()
        if number == 0:
            return (*enough, *evaluating_everybody())
        return (
            *enough,
            *self._contributing(number, objective),
            *(self._learning_from_clients() if self._mutual else ()),
            *(self._learning_from_server(number, objective) if self._teaches else evaluating_everybody()),
        )

    def _contributing(self, number: int, objective: Objective) -> Round:
        """Return how all parties gain their knowledge of the public samples, and how clients send theirs."""
        judged = self._judges_texts(objective)
        read = judged or self._takes_over
        know = partial(knowing, kind=self._kind, round=number, objective=objective, tries=self.options.tries)
        known = number > 1 and self._teaches  # nothing changes the LLM after it has sent what it knows
        return (
            Ask("contribute"),
            *self._studying_private(number),
            know("client", "answer", tells=self._mutual or read, alone=not self._mutual),
            *((sending("client", self._kind, number, objective),) if self._mutual else ()),
            *((sending_texts(always=self._takes_over),) if read and not self._mutual else ()),
            *((judging_server(objective, number),) if judged and self._mutual and number > 1 else ()),
            REPORTING,
            know("server", "answer", tells=not self._mutual, known=known),
            Receive(_look_at_records) if self._keeps_records else Receive(),
            *((silent("server", _begin_texts if self._mutual else _read_texts),) if read else ()),
        )

    def _learning_from_clients(self) -> Round:
        """Return SLM→LLM: the server allocates per client, fuses and studies."""
        replay = self.options.server_replay
        choose = partial(allocating, "server", self._kind, replay)
        if self._probes:
            choosing = (choose(self._choose), Step("server", "trust", Verb.STUDY, "lessons", run=self._probe))
        elif self._trusts_gold_texts:
            choosing = (choose(self._choose), silent("server", _hold_against_gold_texts))
        else:
            choosing = (choose(self._choose_one_by_one),)
        return (*choosing, distilling("server", replay, teachers="its clients", lessons=self._lessons_won))

    def _learning_from_server(self, number: int, objective: Objective) -> Round:
        """Return LLM→SLM: the server sends its knowledge; a client allocates and studies."""
        judged = self._judges_texts(objective)
        know = partial(knowing, kind=self._kind, round=number, objective=objective, tries=self.options.tries)
        votes = _share_votes_on_taught if self._takes_over else _share_votes
        return (
            *((know("server", "answer-anew", tells=True),) if self._mutual else ()),
            *(() if self.options.take_over is None else taking_over(self.options.take_over)),
            sending("server", self._kind, number, objective, told=taught if self._takes_over else None),
            *((judging_clients(objective, number),) if judged else ()),
            *((Step("server", "count-votes", sends=(BALLOT,), run=votes),) if self.options.share_votes else ()),
            Ask("learn", kinds_of(self._kind, objective) | judgement_kinds(objective) | self._votes, to_each),
            receiving(self._kind),
            *((KEEPING_TO_JUDGE,) if judged and self._mutual else ()),
            allocating("client", self._kind, self.options.client_replay),
            distilling("client", self.options.client_replay, lessons=self._lessons_chosen),
            *(
                self._averaging()
                if self.options.average_adapters
                else (EVALUATING, REPORTING, self._standing, Receive())
            ),
        )

    def _averaging(self) -> Round:
        """Return the end of a round in which clients with one model continue with the average of their adapters."""
        adapter, secure = MessageSchema(frozenset({ADAPTER})), self.options.secure_aggregation
        sending = Step("client", "average", None, "private", sends=(ADAPTER,), kinds=adapter, run=send_adapter)
        averaging = Step("server", "average", None, "private", sends=(ADAPTER,), run=self._average)
        return (
            ADVERTISING if secure else sending,
            REPORTING,
            self._standing,
            Receive(),
            *(averaging_masked(self.options.update_norm) if secure else (averaging,)),
            Ask("average", MessageSchema(optional=adapter.required)) if secure else Ask("average", adapter, to_each),
            silent("client", take_and_start if secure else take_sent),
            EVALUATING,
            REPORTING,
            Receive(),
            silent("server", keep_newest),
        )

    @property
    def _votes(self) -> MessageSchema:
        return MessageSchema(optional=frozenset({BALLOT} if self.options.share_votes else ()))

    @property
    def _standing(self) -> Step:
        return EVALUATING_SERVER if self._mutual else STANDING

    @property
    def _mutual(self) -> bool:
        return self.options.directions != "llm_to_slm"

    @property
    def _takes_over(self) -> bool:
        return self.options.take_over is not None

    @property
    def _teaches(self) -> bool:
        return self.options.directions != "slm_to_llm"

    @property
    def _probes(self) -> bool:
        return self._mutual and self.options.trust == "gain"

    @property
    def _trusts_gold_texts(self) -> bool:
        return self.options.trust == "auto" and self._kind == "labels"

    @property
    def _keeps_records(self) -> bool:
        """Whether clients' answers are compared with gold ones or, without these, with the LLM's first ones."""
        return self.options.trust in ("auto", "agreement") and self._mutual and self._kind == "paths"

    def _judges_texts(self, objective: Objective) -> bool:
        """Return whether teachers score what students wrote. Raises InputError if they never see it."""
        if objective.needs.signal_on("student") is None:
            return False
        learns = f"objective {objective.title!r} learns from a teacher's scores of the student's own texts"
        if self._takes_over and self._mutual:
            raise InputError(
                f"host.options.take_over: {learns}, but with take_over the LLM sends each client other texts; expected "
                "directions 'llm_to_slm', null, or another objective"
            )
        if self._kind == "labels":
            raise InputError(
                f"host.options.knowledge: {learns}, but with 'labels' no party writes any; expected 'paths' (with "
                "plugin: none, set it explicitly), or another objective"
            )
        if not self._teaches:
            raise InputError(
                f"host.options.directions: {learns}, but with 'slm_to_llm' no client sees those of the LLM; expected "
                "'both' or 'llm_to_slm', or another objective"
            )
        return True

    @property
    def _kind(self) -> KnowledgeKind:
        return self.options.knowledge

    def _studying_private(self, number: int) -> Round:
        if self.options.private_rounds is not None and number > self.options.private_rounds:
            return ()
        return (studying_private(),) if self._teaches else studying_both()

    def _choose(self, turn: Turn) -> None:
        """Allocate for each client, and hold all offers in memory at once to compare them.

        Until then, no result of a trial study on a client's paths is kept.
        """
        turn[FUSION] = _fusion(turn)
        reader = self._reader(turn, turn.replies, {})
        turn[CHOSEN] = each(turn, reader.replies, partial(self._choice, turn, reader, keeps=False))

    def _choose_one_by_one(self, turn: Turn) -> None:
        """Allocate for each client and fuse at once: each reply is read in its turn and then dropped.

        For an allocator that compares all parties' answers, all replies are read first and stay in memory.
        """
        turn[FUSION], replies, against = _fusion(turn), turn.replies, {}
        its = each(turn, replies, turn[RECORDS].of) if self._keeps_records else {}
        if self._keeps_records:
            against, replies = untrusted(its), {client: replies[client] for client in its}
        reader = self._reader(turn, replies, against)

        def add(client: str, reply: Payload) -> None:
            offer, allocation = self._choice(turn, reader, client, reply, keeps=client not in against)
            if client in against:
                allocation = without_paths(turn.party, turn.round, allocation, its[client], against[client])
            turn[FUSION].add(offer, allocation)

        each(turn, reader.replies, add)

    def _reader(self, turn: Turn, replies: Mapping[str, Payload], against: Collection[str]) -> _Reader:
        """Return how clients' replies are read, one by one or, for an allocator that needs all answers, at once.

        Clients whose record is `against` them have no vote.
        """
        party, mine, trusted = turn.party, turn[MINE], self.options.trust == "off"
        if not party.allocator.needs.reviews or self._kind == "labels":
            return _Reader(replies, partial(self._read, turn), None)
        found = each(turn, replies, partial(self._read, turn))
        turn[REVIEWED] = {
            client: NO_VOTE if client in against else reviewed(party, offer, judged, mine, trusted=trusted)
            for client, (offer, judged) in found.items()
        }
        every = gathered(party, mine, turn[REVIEWED])
        return _Reader({client: replies[client] for client in found}, lambda c, _: found[c], of_all(party, every))

    def _read(self, turn: Turn, client: str, reply: Payload) -> tuple[Offer, Mapping[str, Likelihood]]:
        """Return a client's offer, and the server's likelihoods of its paths."""
        party, round, mine = turn.party, turn.round, turn[MINE]
        offer = with_judgements(party, reply, receive_knowledge(party, reply, client, round, self._kind))
        if self._takes_over or party.asked_by(client, "student") is not None:
            turn[WRITTEN][client] = offer.knowledge
        judged = judge(party, round, offer.knowledge, mine)
        if self.options.trust == "auto":
            offer = replace(offer, knowledge=doubted(offer.knowledge, judged, mine))
        return offer, judged

    def _choice(
        self, turn: Turn, reader: _Reader, client: str, reply: Payload, *, keeps: bool
    ) -> tuple[Offer, Allocation]:
        offer, judged = reader.read(client, reply)
        chosen = allocate_offers(
            turn.party,
            turn.round,
            offer.knowledge,
            turn[MINE],
            judged,
            replay=self.options.server_replay,
            teachers=len(turn.replies),
            trusted=self.options.trust == "off",
            keeps=keeps,
            reviews=reader.reviews,
        )
        return offer, chosen

    def _probe(self, turn: Turn) -> None:
        """Fuse clients' offers as far as a few steps on them improve the LLM."""
        chosen = turn[CHOSEN]
        allocations = {client: allocation for client, (_, allocation) in chosen.items()}
        received = {client: offer.knowledge for client, (offer, _) in chosen.items()}
        allocations = limit_by_gain(turn.party, allocations, received, turn.round, self.options.trust_steps)
        for client, allocation in allocations.items():
            turn[FUSION].add(chosen[client][0], allocation)

    def _lessons_won(self, turn: Turn) -> list[Lesson]:
        """Return the lessons that the fuser picked. Clients without usable content are left out from here on."""

        def lessons(_client: str, won: Won) -> list[Lesson]:
            return lessons_of(turn.party, won.allocation, won.offer, turn[MINE], won.known)

        party, fusion = turn.party, turn[FUSION]
        won = fusion.won()
        keep_state(party, address(FUSERS.kind, party.fuser[0], "run"), fusion.state)
        by_client = each(turn, won, lessons)
        turn.replies = {client: turn.replies[client] for client in by_client}
        return self._and_labels(turn.party, [lesson for lessons in by_client.values() for lesson in lessons])

    def _lessons_chosen(self, turn: Turn) -> list[Lesson]:
        return self._and_labels(turn.party, chosen_lessons(turn))

    def _and_labels(self, party: Party, lessons: list[Lesson]) -> list[Lesson]:
        return lessons if self._kind == "paths" else and_labels(party, lessons)

    def _average(self, turn: Turn) -> None:
        pooled = aggregate_updates(turn.party, turn.replies, turn.round, self.options)
        turn[NEWEST] = newest = pooled.newest(turn.party)
        turn[SENT] = pooled.shared(turn.party, newest)


def _share_votes(turn: Turn) -> None:
    """Add to what each client is sent what all parties answered, the LLM as it answers now."""
    every = gathered(turn.party, turn[MINE], turn[REVIEWED])
    _add_ballots(turn, lambda _: every)


def _share_votes_on_taught(turn: Turn) -> None:
    """Do as `_share_votes`, but the LLM's answers to a client are those of the paths that this client is sent."""
    _add_ballots(turn, lambda client: gathered(turn.party, taught(turn, client), turn[REVIEWED]))


def _add_ballots(turn: Turn, votes: Callable[[str], Reviews]) -> None:
    party, answered = turn.party, turn[REVIEWED]
    turn[SENT] = {
        client: {**payload, **(ballot_for(party, client, votes(client), turn.round) if client in answered else {})}
        for client, payload in turn[SENT].items()
    }


def _look_at_records(turn: Turn) -> Look:
    turn[RECORDS] = Records(turn.party, turn[MINE])
    return turn[RECORDS].look


def _begin_texts(turn: Turn) -> None:
    turn[WRITTEN] = {}


def _read_texts(turn: Turn) -> None:
    """Read the paths of clients that send them only to be scored."""
    sent = {client: reply for client, reply in turn.replies.items() if PATHS in reply}
    turn[WRITTEN] = written = each(
        turn,
        sent,
        lambda client, reply: receive_knowledge(turn.party, reply, client, turn.round, "paths").knowledge,
    )
    turn.replies = {client: reply for client, reply in turn.replies.items() if client in written or client not in sent}


def _fusion(turn: Turn) -> Fusion:
    party, (name, fuser) = turn.party, turn.party.fuser
    state = state_of(party, fuser, address(FUSERS.kind, name, "run"))
    return Fusion(fuser, state, party.name, turn.round, turn[MINE].by_id())


def _hold_against_gold_texts(turn: Turn) -> None:
    """Fuse the offers of clients whose distributions do not contradict the gold texts."""
    party, chosen = turn.party, turn[CHOSEN]
    checked = gold_lessons(party, party.task.public)
    soft = each(turn, chosen, lambda _, its: with_soft_targets(party, checked, its[0]))
    allocations = {client: chosen[client][1] for client in soft}
    allocations = limit_by_gold_texts(party, allocations, checked, soft, turn[MINE], turn.round)
    for client, allocation in allocations.items():
        turn[FUSION].add(chosen[client][0], allocation, soft.get(client, ()))
