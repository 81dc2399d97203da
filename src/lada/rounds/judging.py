"""A teacher scores the texts that a student wrote and sent, and the student learns from that on its own texts.

LLM→SLM: the server scores each client's paths with the weights that it teaches with, and tells it in `learn`. SLM→LLM:
a client keeps the server's paths and scores them in the next round, after its own study; its next `contribute` tells
the server. In both directions, the student's weights do not change between writing and studying, unless its allocator
keeps those of a trial. So its log-probs at the start of the study are those with which it wrote.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lada.codecs import judgements, paths
from lada.codecs.judgements import Judged, sent_paths
from lada.core.needs import SignalSpec
from lada.core.plural import counted, plural
from lada.core.terms import Allocation, Knowledge, Lesson, TokenLogProbs, TokenScores
from lada.models.objective import Objective
from lada.rounds.base import MessageSchema, Payload
from lada.rounds.knowledge import VOCABULARY, Offer, score, sound_scores, total_of, words_of
from lada.rounds.lessons import with_teacher_totals
from lada.rounds.party import Party
from lada.rounds.releasing import release_scores
from lada.rounds.remembering import with_alternatives
from lada.rounds.soft import with_scores
from lada.rounds.wire import reading, write
from lada.rounds.withholding import keep_back_scores, may_tell

JUDGEMENTS = judgements.KIND
PHASE = "score-others"
"""The phase in which a teacher scores the texts of a student."""
TO_JUDGE = "paths to judge"
"""In a client's memory: the paths that the server sent it last."""


def judgement_kinds(objective: Objective) -> MessageSchema:
    """Return the kinds with which a student is told about its own texts; none if its objective does not ask."""
    signal = objective.needs.signal_on("student")
    if signal is None:
        return MessageSchema()
    return MessageSchema(optional=frozenset({JUDGEMENTS} if signal.k == 1 else {JUDGEMENTS, VOCABULARY}))


def judge_texts(party: Party, texts: Knowledge, signal: SignalSpec, round: int, *, first: bool) -> dict[str, bytes]:
    """Return a party's scores of a student's `texts` as message parts.

    The vocabulary goes along if it is the `first` time and the scores name tokens. Policies on scores and withholding
    apply. Texts without usable scores are omitted and counted.
    """
    vocabulary = party.learner.vocabulary()
    if signal.k > 1 and not may_tell(party, vocabulary):
        notice = f"round {round}: {party.name} scores no texts, since its vocabulary repeats private text"
        party.note(notices=(notice,))
        return {}
    now = replace(texts, round=round)
    scores = score(party, now, signal.k, phase=PHASE, what="judgement", sender=party.name)
    _, scores = release_scores(party, now, keep_back_scores(party, round, scores))
    if not scores:
        return {}
    if signal.k == 1:
        own = {id: TokenLogProbs(each.offsets, each.own()) for id, each in scores.items()}
        return {JUDGEMENTS: write(party, JUDGEMENTS, Judged(party.name, texts.round, 0, own))}
    part = write(party, JUDGEMENTS, Judged(party.name, texts.round, len(vocabulary.tokens), scores))
    return {JUDGEMENTS: part, **({VOCABULARY: write(party, VOCABULARY, vocabulary)} if first else {})}


def keep_to_judge(party: Party, received: Knowledge) -> None:
    """Let a client keep the server's paths, if the server asks for its scores of them."""
    if party.asked_by(received.party, "student") is not None:
        party.memory[TO_JUDGE] = paths.encode(received)


def judge_kept(party: Party, round: int) -> dict[str, bytes]:
    """Return a client's scores of the server's paths of the round before, if it was sent any; see `judge_texts`."""
    if TO_JUDGE not in party.memory:
        return {}
    kept = paths.decode(party.memory.pop(TO_JUDGE), known_ids=None, limit=None)
    signal = party.asked_by(kept.party, "student")
    if signal is None or kept.round != round - 1:
        return {}
    # With scores of its own texts, a client has sent its vocabulary in round 1.
    return judge_texts(party, kept, signal, round, first=round == 2 and "teacher" not in signal.texts)


def with_judgements(party: Party, payload: Payload, offer: Offer) -> Offer:
    """Return an offer with what its sender tells about the receiver's texts, if its objective asks for that.

    Raises CodecError or FederationError for content that no honest party sends.
    """
    signal, sent = party.objective.needs.signal_on("student"), sent_paths(party.memory)
    if signal is None or sent is None or JUDGEMENTS not in payload:
        return offer
    read, teacher = reading(party, payload), offer.knowledge.party
    found: judgements.Received = read.part(JUDGEMENTS)
    words = offer.vocabulary
    if signal.k > 1 and words is None:
        words = words_of(party, read, teacher, offer.knowledge.round, "judgements")
        if words is None:
            return offer
    size = len(words.tokens) if words else 0
    scores: Mapping[str, TokenScores | TokenLogProbs] = sound_scores(
        party, sent, found, size, what="judgement", sender=teacher
    )
    return replace(offer, vocabulary=words, judgements=scores)


def own_lessons(party: Party, allocation: Allocation, offer: Offer, mine: Knowledge) -> list[Lesson]:
    """Return lessons on a party's own texts, as it sent them, with their teacher's scores.

    They are of the samples on which the party follows this teacher. Texts that were not sent or cannot be traced are
    left out. These, and texts that a policy changed, are counted.
    """
    signal, sent = party.objective.needs.signal_on("student"), sent_paths(party.memory)
    if signal is None or sent is None or not party.objective.needs.own_lessons:
        return []
    questions, texts = {sample.id: sample.question for sample in party.task.public}, sent.by_id()
    followed = [choice.sample_id for choice in allocation.choices if choice.source == "teacher"]
    scored = [texts[id] for id in followed if id in texts and id in offer.judgements]
    bare = [
        Lesson(path.sample_id, questions[path.sample_id], path.text, chosen_cut=path.cut, own=True) for path in scored
    ]
    by_place = {place: offer.judgements[lesson.sample_id] for place, lesson in enumerate(bare)}
    taught = with_scores(party, bare, by_place, offer, signal)
    lessons = [each for each in taught if each.soft is not None or each.chunks is not None]
    wrote = {path.sample_id: path.text for path in mine.paths}
    changed = sum(each.chosen != wrote.get(each.sample_id) for each in lessons)
    lost = len(followed) - len(lessons)
    of = f"of {counted(len(followed), 'own text')} on which {party.name} follows {allocation.teacher}"
    left_out = f"{of} are left out, since they were not sent, not scored or not traced to its tokens"
    for count, what in ((lost, left_out), (changed, f"{of} were changed before they were sent, and are learnt so")):
        if count:
            party.note(notices=(f"round {allocation.round}: {count} {what}",))
    return lessons


def with_teachers_view(party: Party, lessons: Sequence[Lesson], offer: Offer) -> list[Lesson]:
    """Return lessons whose pairs have the teacher's log-probs of both paths, where it told them.

    Those of its own path came with that path, and those of the party's path as a judgement. At a server, paths that no
    gold answer can check are left out, since it may have replaced their likelihoods by its own (lada.rounds.trust). A
    notice counts all pairs without them. Paths of earlier rounds follow, if the objective compares more than two.
    """
    signal, sent = party.objective.needs.signal_on("student"), sent_paths(party.memory)
    if signal is None or not party.objective.needs.rejected:
        return list(lessons)
    mine = {} if sent is None else sent.by_id()
    judged = {id: total_of(each, mine[id].text) for id, each in offer.judgements.items() if id in mine}
    totals = {id: total for id, total in judged.items() if total is not None}
    its = {path.sample_id: path for path in offer.knowledge.paths if party.role == "client" or path.right is not None}
    told = with_teacher_totals(lessons, its, mine, totals)
    pairs = sum(lesson.rejected is not None for lesson in told)
    if lost := sum(lesson.rejected is not None and lesson.teacher_chosen is None for lesson in told):
        party.note(
            notices=(
                f"round {offer.knowledge.round}: {lost} of {counted(pairs, 'pair')} of {party.name} "
                f"{plural(lost, 'lacks', 'lack')} a likelihood of {offer.knowledge.party}",
            )
        )
    return with_alternatives(party, told, offer.knowledge.party)
