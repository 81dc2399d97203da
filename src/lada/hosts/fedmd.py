"""FedMD: the members' distributions over the gold texts are averaged, and each member learns them (arXiv 1910.03581).

One round:

    clients   study their private data; score the gold texts of the public samples token by token     `contribute`
    server    scores them too; converts all scores to the LLM's tokens and averages them: the consensus
    clients   receive the consensus; an allocator chooses the samples on which to match it ("digest"); `digest`
              then study private data again ("revisit")
    server    meanwhile the LLM, a member like the others, matches it as well

A fuser that weighs distributions (`knfu`) makes a consensus for each party of its own.

With `average: probabilities` and a temperature of 0.1 it is DS-FL (arXiv 2008.06180), in our reading.
"""

from collections.abc import Iterator, Mapping, Sequence

from lada.allocators.base import Allocator
from lada.core.choice import MethodChoice
from lada.core.errors import of_method
from lada.core.terms import Knowledge, Lesson, Sample, SparseLogProbs, TokenScores, Verb
from lada.fusers.base import FUSERS
from lada.hosts.base import Host, PaperDefaults
from lada.hosts.options.fedmd import FedmdOptions
from lada.models.learners import LearnerOptions
from lada.models.objective import Objective
from lada.rounds.allocating import check_takes_labels
from lada.rounds.base import Ask, Payload, Receive, Round, Side, Slot, Step, Turn
from lada.rounds.gold import check_gold
from lada.rounds.knowledge import Offer, encode, kinds_of, kinds_sent, receive_knowledge, score, send_scores_each
from lada.rounds.labels import ask_for_labels
from lada.rounds.matching import CONSENSUS, believed, consensus_offer, merge_members
from lada.rounds.outline import (
    EVALUATING,
    EVALUATING_SERVER,
    MINE,
    OFFER,
    REPORTING,
    SENT,
    allocating,
    distilling,
    evaluating_everybody,
    knowing,
    receiving,
    sending,
    silent,
    studying_private,
    to_each,
)
from lada.rounds.party import Party
from lada.rounds.replies import each
from lada.rounds.soft import check_wants_soft_targets, with_soft_targets
from lada.rounds.states import address, keep_state, state_of
from lada.rounds.steps import gold_lessons
from lada.tasks.data import TaskData

SCORES: Slot[Mapping[str, TokenScores]] = Slot("own scores")


class Fedmd(Host):
    """All parties score the gold texts, the server averages the distributions, and all learn the average."""

    bare = PaperDefaults(
        {"objective": MethodChoice(name="soft_targets", options={"form": "forward_kl", "label_weight": 0.0})}
    )

    averages = True

    def __init__(self, options: FedmdOptions) -> None:
        self.options = options
        self.client_replay = options.client_replay

    def ask(self, public: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """See Host.ask."""
        return ask_for_labels(public, self.options.label_prompt)

    def check(self, allocator: Allocator, clients: Mapping[str, LearnerOptions]) -> None:
        """See Host.check."""
        check_takes_labels(allocator, "host: 'fedmd' works on gold texts", "plugin none")

    def check_task(self, task: TaskData) -> None:
        """See Host.check_task."""
        check_gold(task, "host: 'fedmd'", "choose another host, such as fedmkt")

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round."""
        check_wants_soft_targets("fedmd", objective)
        if number == 0:
            return evaluating_everybody()
        before, kinds = 1 - self.options.revisit, kinds_of("labels", objective)
        return (
            Ask("contribute"),
            studying_private(part=(0.0, before)),
            knowing("client", "answer", "labels", number, objective, tells=True),
            sending("client", "labels", number, objective),
            REPORTING,
            *self._scoring(number, objective),
            Receive(),
            self._averaging(number),
            Ask("digest", kinds, to_each),
            *(self._digesting("server") if self.options.llm_member else ()),
            receiving("labels"),
            *self._digesting("client"),
            studying_private("revisit", (before, 1.0)),
            EVALUATING,
            REPORTING,
            EVALUATING_SERVER,
            Receive(),
        )

    def _scoring(self, number: int, objective: Objective) -> Round:
        """Return the steps in which the LLM scores the gold texts, if it is a member."""
        if not self.options.llm_member:
            return (silent("server", _say_nothing),)
        sends = kinds_sent("labels", number, soft=True)
        return (
            knowing("server", "answer", "labels", number, objective, tells=True),
            Step("server", "score", Verb.LOG_PROBS, "public", sends=sends, run=_score),
        )

    def _averaging(self, number: int) -> Step:
        sends = () if self.options.llm_member else kinds_sent("labels", number, soft=True)
        return Step("server", "average", None, "public", sends=sends, run=self._average)

    def _digesting(self, side: Side) -> Round:
        replay = self.options.server_replay if side == "server" else self.options.client_replay
        return (allocating(side, "labels", replay), distilling(side, replay, teachers="the consensus"))

    def _average(self, turn: Turn) -> None:
        """Average the members' distributions, send the result to all, and leave it for the LLM."""
        party, round = turn.party, turn.round
        lessons = gold_lessons(party, party.task.public)

        def soft(client: str, reply: Payload) -> list[Lesson]:
            return with_soft_targets(party, lessons, receive_knowledge(party, reply, client, round, "labels"))

        received = each(turn, turn.replies, soft)
        of = self._consensus(party, round, lessons, received, turn[SCORES])
        turn.replies = {client: turn.replies[client] for client in received}
        sent: dict[str, Payload] = {}
        for merged, receivers in of:
            asked = {client: party.asked_by(client) for client in receivers if client in received}
            sent |= send_scores_each(party, round, merged.scores, asked, encode(merged.knowledge, "labels"))
            if party.name in receivers:
                offer = Knowledge(CONSENSUS, round, merged.knowledge.paths)
                turn[OFFER] = Offer(offer, merged.scores, merged.vocabulary)
        turn[SENT] = sent

    def _consensus(
        self,
        party: Party,
        round: int,
        lessons: Sequence[Lesson],
        clients: Mapping[str, Sequence[Lesson]],
        scores: Mapping[str, TokenScores],
    ) -> Iterator[tuple[Offer, Sequence[str]]]:
        """Yield the members' joint distributions over the gold texts, the `lessons`, in the server's tokens.

        Each comes with the parties that receive it. `clients` have the lessons with soft targets; `scores` are the
        server's own.
        """
        said = {party.name: {id: own.top for id, own in scores.items()}}
        for client in sorted(clients):
            said[client] = {lesson.sample_id: lesson.soft for lesson in clients[client] if lesson.soft is not None}
        received = [lesson for lesson in lessons if any(lesson.sample_id in member for member in said.values())]
        texts = zip(received, party.learner.tokenize([lesson.chosen for lesson in received]), strict=True)
        # Texts whose soft targets could be translated into these tokens, or were scored in them, can be spelled in
        # them.
        spelled = {lesson.sample_id: text for lesson, text in texts if text is not None}
        members = believed(party, round, spelled, {name: each for name, each in said.items() if each})
        for weights, receivers in _weighed(party, round, members, (*sorted(clients), party.name)):
            how = self.options.average, self.options.temperature, weights
            yield consensus_offer(party, party.name, round, merge_members(party, spelled, members, *how)), receivers


def _weighed(
    party: Party, round: int, members: Mapping[str, Mapping[str, SparseLogProbs]], receivers: Sequence[str]
) -> Iterator[tuple[Mapping[str, float] | None, Sequence[str]]]:
    """Yield the members' weights, None for equal ones, with the receivers that they are for."""
    name, fuser = party.fuser
    if not fuser.weighs:
        yield None, receivers
        return
    key = address(FUSERS.kind, name, "run")
    with of_method(FUSERS.kind, name):
        state, found = fuser.weigh(state_of(party, fuser, key), members, len(party.learner.vocabulary().tokens))
        keep_state(party, key, state)
    party.note(notices=tuple(f"round {round}: {notice}" for notice in found.notices))
    if others := [receiver for receiver in receivers if receiver not in found.of]:
        yield None, others
    for receiver in receivers:
        if receiver in found.of:
            yield found.of[receiver], [receiver]


def _score(turn: Turn) -> None:
    turn[SCORES] = score(turn.party, turn[MINE], turn.party.most_tokens)


def _say_nothing(turn: Turn) -> None:
    turn[SCORES] = {}
