"""Steps that the rounds of several hosts share, ready for their lists."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from lada.core.terms import Allocation, Knowledge, Lesson, Verb
from lada.models.objective import Objective
from lada.rounds.allocating import allocate_offers
from lada.rounds.averaging import ADAPTER, encode_adapter, handed_out, take_adapter
from lada.rounds.base import Act, Ask, MessageSchema, Payload, Receive, Round, Side, Slot, Step, Turn
from lada.rounds.distilling import distil, lessons_of
from lada.rounds.judging import (
    JUDGEMENTS,
    PHASE,
    judge_kept,
    judge_texts,
    judgement_kinds,
    keep_to_judge,
    with_judgements,
)
from lada.rounds.knowledge import (
    PATHS,
    VOCABULARY,
    KnowledgeKind,
    Offer,
    encode,
    keep_own_knowledge,
    kinds_of,
    kinds_sent,
    own_knowledge,
    receive_knowledge,
    send_each,
    send_knowledge,
    send_texts,
    write_knowledge,
)
from lada.rounds.options import Replay
from lada.rounds.rehearsal import rehearsed
from lada.rounds.reports import REPORT, report_payload
from lada.rounds.reviewing import of_offer, with_ballot
from lada.rounds.self_context import private_study
from lada.rounds.steps import evaluate_party, part_of, sft, study

MINE: Slot[Knowledge] = Slot("own knowledge")
OFFER: Slot[Offer] = Slot("offer")
ALLOCATION: Slot[Allocation] = Slot("allocation")
SENT: Slot[Mapping[str, Payload]] = Slot("what each client is sent")
WRITTEN: Slot[dict[str, Knowledge]] = Slot("texts of clients")
NEWEST: Slot[bytes | None] = Slot("newest adapter")
"""None if no average was ever made."""


def silent(side: Side, run: Act) -> Step:
    """Return a step that is too short to be listed in a plan."""
    return Step(side, run=run)


def _report(turn: Turn) -> None:
    turn.outbox |= report_payload(turn.party)


REPORTING = Step("client", kinds=REPORT, run=_report)
"""A client's last step in a phase: it reports its measurements."""


def _evaluate(turn: Turn) -> None:
    evaluate_party(turn.party, turn.round)


EVALUATING = Step("client", "evaluate", Verb.ANSWER, "test", run=_evaluate)
EVALUATING_SERVER = Step("server", "evaluate", Verb.ANSWER, "test", run=_evaluate)
STANDING = silent("server", _evaluate)
"""The server is evaluated with its initial weights. Nothing has changed, so it is not asked again."""


def evaluating_everybody(server: Step = EVALUATING_SERVER) -> Round:
    """Return a separate phase `evaluate`."""
    return (Ask("evaluate"), EVALUATING, REPORTING, server, Receive())


def studying(
    side: Side,
    phase: str,
    samples: Literal["public", "private"],
    lessons: Callable[[Turn], Sequence[Lesson]],
    *,
    budget: Literal["private", "distil"],
) -> Step:
    """Return plain fine-tuning on gold lessons, for a budget."""
    return _studying(side, phase, samples, lambda turn: (lessons(turn), sft(), 0), budget)


def studying_private(
    phase: str = "private",
    part: tuple[float, float] = (0.0, 1.0),
    budget: Literal["private", "distil"] = "private",
) -> Step:
    """Return a client's study of its private samples for a budget or a part of it.

    See lada.rounds.self_context and lada.rounds.rehearsal.
    """

    def taught(turn: Turn) -> tuple[Sequence[Lesson], Objective, int]:
        own, objective = private_study(turn.party, turn.round, phase)
        lessons, general = rehearsed(turn.party, own, turn.round, phase)
        return lessons, objective, general

    return _studying("client", phase, "private", taught, budget, part)


def _studying(
    side: Side,
    phase: str,
    samples: Literal["public", "private"],
    taught: Callable[[Turn], tuple[Sequence[Lesson], Objective, int]],
    budget: Literal["private", "distil"],
    part: tuple[float, float] = (0.0, 1.0),
) -> Step:
    def run(turn: Turn) -> None:
        whole = getattr(turn.party.studies, budget)
        options = whole if part == (0.0, 1.0) else part_of(whole, *part)
        lessons, objective, replayed = taught(turn)
        study(turn.party, lessons, objective, options, round=turn.round, phase=phase, replayed=replayed)

    return Step(side, phase, Verb.STUDY, samples, study=budget, part=part, run=run)


def studying_both(phase: str = "private", lessons: Callable[[Turn], Sequence[Lesson]] | None = None) -> Round:
    """Return a client's study of private lessons for both of its budgets, timed as `phase` and `phase-more`.

    A client without lessons from others thus studies as much as a collaborating one does in total. `lessons` are
    studied by plain fine-tuning; by default they are those of its private samples.
    """
    if lessons is None:
        return (studying_private(phase), studying_private(f"{phase}-more", budget="distil"))
    return (
        studying("client", phase, "private", lessons, budget="private"),
        studying("client", f"{phase}-more", "private", lessons, budget="distil"),
    )


def knowing(
    side: Side,
    phase: str,
    kind: KnowledgeKind,
    round: int,
    objective: Objective,
    *,
    tells: bool,
    alone: bool = False,
    known: bool = False,
    tries: int = 1,
) -> Step:
    """Return the step in which one side gains its knowledge of the public samples; a client keeps it for a later phase.

    `tells`: it then sends the knowledge (`sending`), with `alone` never any scores of it. `known`: it has answered with
    its current weights, so that it is not asked again.
    """

    def run(turn: Turn) -> None:
        turn[MINE] = write_knowledge(turn.party, turn.round, phase, kind, tries=tries)
        if side == "client":
            keep_own_knowledge(turn.party, encode(turn[MINE], kind))  # before any removal

    verb = None if known else Verb.ANSWER if kind == "paths" else Verb.JUDGE
    without_scores = alone or objective.needs.signal_on("teacher") is None
    sends = kinds_sent(kind, round, soft=False) if tells and without_scores else ()
    return Step(side, phase, verb, "public", sends=sends, run=run)


def sending(
    side: Side,
    kind: KnowledgeKind,
    round: int,
    objective: Objective,
    *,
    told: Callable[[Turn, str], Knowledge] | None = None,
) -> Step:
    """Return the step in which one side sends its knowledge, with scores if the objective needs them.

    `told` returns what the server tells a client, if that is not the same for all.
    """

    def run(turn: Turn) -> None:
        if side == "client":
            turn.outbox |= send_knowledge(turn.party, turn[MINE], kind)
        elif told is None:
            turn[SENT] = send_each(turn.party, turn[MINE], kind, list(turn.replies))
        else:
            each = (send_each(turn.party, told(turn, client), kind, [client]) for client in turn.replies)
            turn[SENT] = {client: sent for by_client in each for client, sent in by_client.items()}

    kinds = kinds_of(kind, objective)
    if objective.needs.signal_on("teacher") is None:  # sending is reported together with knowing
        return Step(side, kinds=kinds, run=run)
    sends = kinds_sent(kind, round, soft=True)
    return Step(side, "score", Verb.LOG_PROBS, "public", sends=sends, kinds=kinds, run=run)


def sending_texts(*, always: bool) -> Step:
    """Return the step in which a client sends its paths only so that the LLM reads them.

    Unless `always`, it does so only if its objective asks for scores of them.
    """

    def run(turn: Turn) -> None:
        if always or turn.party.objective.needs.signal_on("student") is not None:
            turn.outbox |= send_texts(turn.party, turn[MINE])

    return Step("client", kinds=MessageSchema(optional=frozenset({PATHS})), run=run)


def judging_clients(objective: Objective, round: int) -> Step:
    """Return the step in which the server scores the paths of clients that ask for that, after `SENT` was prepared."""

    def run(turn: Turn) -> None:
        sent = dict(turn[SENT])
        for client in sorted(turn[WRITTEN].keys() & sent.keys()):
            signal = turn.party.asked_by(client, "student")
            if signal is not None:
                first = turn.round == 1 and VOCABULARY not in sent[client]
                told = judge_texts(turn.party, turn[WRITTEN][client], signal, turn.round, first=first)
                sent[client] = {**sent[client], **told}
        turn[SENT] = sent

    return Step("server", PHASE, Verb.LOG_PROBS, "public", sends=_sends(objective, round, first=1), run=run)


def judging_server(objective: Objective, round: int) -> Step:
    """Return the step in which a client scores the paths that the server sent it in the round before."""

    def run(turn: Turn) -> None:
        turn.outbox |= judge_kept(turn.party, turn.round)

    kinds, sends = judgement_kinds(objective), _sends(objective, round, first=2)
    return Step("client", PHASE, Verb.LOG_PROBS, "public", sends=sends, kinds=kinds, run=run)


def _sends(objective: Objective, round: int, *, first: int) -> tuple[str, ...]:
    signal = objective.needs.signal
    words = signal is not None and signal.k > 1 and round == first and "teacher" not in signal.texts
    return (JUDGEMENTS, VOCABULARY) if words else (JUDGEMENTS,)


def _keep_to_judge(turn: Turn) -> None:
    keep_to_judge(turn.party, turn[OFFER].knowledge)


KEEPING_TO_JUDGE = silent("client", _keep_to_judge)
"""A client keeps the server's paths, which it scores in the next round."""


def to_each(turn: Turn) -> Mapping[str, Payload]:
    """Return what the previous step prepared for each client."""
    return turn[SENT]


def receiving(kind: KnowledgeKind) -> Step:
    """Return the step in which a client reads what the server sent, and its own knowledge."""

    def run(turn: Turn) -> None:
        offer = receive_knowledge(turn.party, turn.received, None, turn.round, kind)
        turn[OFFER] = with_ballot(turn.party, turn.received, with_judgements(turn.party, turn.received, offer))
        turn[MINE] = own_knowledge(turn.party, turn.round, kind)

    return silent("client", run)


def allocating(side: Side, kind: KnowledgeKind, replay: Replay, run: Act | None = None) -> Step:
    """Return the step in which one side judges what it received and allocates.

    A plan adds what the allocator itself asks of the learner (Candidates.look, embed, read). Trial studies use
    `replay`.
    """

    def choose(turn: Turn) -> None:
        offer, mine = turn[OFFER], turn[MINE]
        turn[ALLOCATION] = allocate_offers(
            turn.party, turn.round, offer.knowledge, mine, replay=replay, reviews=of_offer(turn.party, offer, mine)
        )

    return Step(side, "judge", Verb.JUDGE if kind == "paths" else None, "public", run=run or choose)


def distilling(
    side: Side,
    replay: Replay,
    *,
    teachers: str | None = None,
    lessons: Callable[[Turn], Sequence[Lesson]] | None = None,
) -> Step:
    """Return the step in which one side studies its choice. A notice names the `teachers`; None means the offer's.

    `lessons` returns the lessons, by default those of the allocation.
    """

    def run(turn: Turn) -> None:
        taught = (lessons or chosen_lessons)(turn)
        named = turn[OFFER].knowledge.party if teachers is None else teachers
        distil(turn.party, turn.round, taught, turn[MINE], replay=replay, teachers=named)

    return Step(side, "distil", Verb.STUDY, "lessons", "distil", run=run)


def chosen_lessons(turn: Turn) -> list[Lesson]:
    """Return the lessons of a party's choice of an offer."""
    return lessons_of(turn.party, turn[ALLOCATION], turn[OFFER], turn[MINE])


def send_adapter(turn: Turn) -> None:
    """Let a client send its adapter, with the number of private samples behind it."""
    turn.outbox[ADAPTER] = encode_adapter(turn.party)


def take_sent(turn: Turn) -> None:
    """Let a client continue with the adapter that it received, if any."""
    if ADAPTER in turn.received:
        take_adapter(turn.party, turn.received)


def keep_newest(turn: Turn) -> None:
    """Let the server remember the newest adapter, if any, and which clients continued with it."""
    if (newest := turn[NEWEST]) is not None:
        handed_out(turn.party, newest, turn.replies)
