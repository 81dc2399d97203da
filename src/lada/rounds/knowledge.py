"""A party's knowledge of the public samples as messages: paths or likelihoods, soft targets, vocabulary.

`paths`: each party writes its own path for each question; the path is sent with its writer's likelihood. `labels`: all
parties have the gold texts, as in FedMKT's paper, so only the likelihood of each is sent. With either, an objective may
ask for soft targets: the likeliest tokens at each position of the same text.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TypeVar

import numpy as np

from lada.alignment import check_offsets, check_scores
from lada.codecs import judgements, likelihoods, paths, soft_targets, vocabulary
from lada.codecs.base import Reading
from lada.codecs.likelihoods import Judgement
from lada.codecs.received import Received
from lada.codecs.reviews import Ballot
from lada.codecs.soft_targets import Scores, SoftTargets
from lada.core.errors import CodecError, FederationError, InputError
from lada.core.known import forget
from lada.core.needs import SignalSpec
from lada.core.plural import counted, plural
from lada.core.terms import Knowledge, SparseLogProbs, TokenLogProbs, TokenScores, Vocabulary
from lada.models.objective import Objective
from lada.rounds.base import MessageSchema, Payload
from lada.rounds.options import KnowledgeKind
from lada.rounds.party import Party
from lada.rounds.releasing import release, release_scores
from lada.rounds.steps import gold_texts, in_range, write_paths
from lada.rounds.unchanged import while_unchanged
from lada.rounds.verdicts import note_failures
from lada.rounds.wire import part, reading, write
from lada.rounds.withholding import keep_back_scores, may_tell

Scored = TypeVar("Scored", bound=TokenScores | TokenLogProbs)
ROOM, HEADER = 48, 4096
"""The most bytes of a table's row besides its texts, and the bytes of its header and batches besides the rows."""
PATHS, LIKELIHOODS, SOFT, VOCABULARY = paths.KIND, likelihoods.KIND, soft_targets.KIND, vocabulary.KIND


@dataclass(frozen=True, slots=True)
class Offer:
    """Knowledge that a party received from another and, if its objective asks for them, token scores and
    vocabulary."""

    knowledge: Knowledge
    scores: Mapping[str, TokenScores] = field(default_factory=dict)
    vocabulary: Vocabulary | None = None
    judgements: Mapping[str, TokenScores | TokenLogProbs] = field(default_factory=dict)
    """The sender's scores of the texts that the receiver sent last (see lada.rounds.judging)."""
    ballot: Ballot | None = None
    """What the sender tells about the answers of all parties (see lada.rounds.reviewing)."""


def write_knowledge(party: Party, round: int, purpose: str, kind: KnowledgeKind, *, tries: int = 1) -> Knowledge:
    """Let a party write (in `tries`, see `write_paths`) or judge a path for every public sample; timed as `purpose`.

    While its weights stay the same, it does so only once: later rounds reuse the paths, unless it did not answer some
    questions.
    """
    public = party.task.public

    def written() -> Knowledge:
        paths = write_paths(party, public, round, purpose, tries=tries, answered=True, temperature=party.temperature)
        return in_range(party, paths)

    def judged() -> Knowledge:
        texts = gold_texts(party)
        with party.phase(round, purpose) as progress:
            found = party.learner.judge([texts[id] for id in texts], progress=progress)
        judgement = Judgement(party.name, round, dict(zip(texts, found, strict=True)))
        return in_range(party, likelihoods.labelled(judgement, texts, party.task.extract))

    if kind == "paths":
        return while_unchanged(party, round, public, ["paths", tries], written, least=len(public))
    return while_unchanged(party, round, public, ["labels", [sample.rationale for sample in public]], judged)


def send_knowledge(party: Party, knowledge: Knowledge, kind: KnowledgeKind) -> Payload:
    """Return the message parts from a client to its only student, the server; see `send_each`."""
    (payload,) = send_each(party, knowledge, kind, list(party.signals)[:1] or [""]).values()
    return payload


def send_each(party: Party, knowledge: Knowledge, kind: KnowledgeKind, students: Iterable[str]) -> dict[str, Payload]:
    """Return a party's knowledge as message parts by student, with soft targets for students whose objective needs
    them.

    The vocabulary is sent along in the first round. A sample whose scores are not finite is omitted and counted. The
    party's policies and withholding apply here. A changed text gets no soft targets, since these spell out its
    likeliest tokens.
    """
    return _send(party, knowledge, kind, {student: party.asked_by(student) for student in students})


def send_texts(party: Party, knowledge: Knowledge) -> Payload:
    """Return a party's paths alone as message parts, as `send_each` releases them, for a teacher that scores them."""
    (payload,) = _send(party, knowledge, "paths", {"": None}).values()
    return payload


def _send(
    party: Party, knowledge: Knowledge, kind: KnowledgeKind, asked: Mapping[str, SignalSpec | None]
) -> dict[str, Payload]:
    """Return knowledge as message parts by student, with the scores that each asks for; see `send_each`."""
    knowledge, changed = release(party, knowledge, kind)
    knowledge = _fitting(party, knowledge, kind)
    most = max((signal.k for signal in asked.values() if signal is not None), default=0)
    scores: Mapping[str, TokenScores] | None = None
    if most and may_tell(party, party.learner.vocabulary()):
        received = replace(knowledge, paths=tuple(path for path in knowledge.paths if path.sample_id not in changed))
        scores = keep_back_scores(party, knowledge.round, score(party, received, most))
        knowledge, scores = release_scores(party, knowledge, scores)
    elif most:
        notice = (
            f"round {knowledge.round}: {party.name} sends no token scores, since its vocabulary repeats private text"
        )
        party.note(notices=(notice,))
    texts = PATHS if kind == "paths" else LIKELIHOODS
    payload = {texts: write(party, texts, knowledge)}
    if kind == "paths" and party.objective.needs.signal_on("student"):
        party.memory[judgements.SENT] = paths.encode(knowledge)
    if scores is None:
        return dict.fromkeys(asked, payload)
    return send_scores_each(party, knowledge.round, scores, asked, payload)


def _fitting(party: Party, knowledge: Knowledge, kind: KnowledgeKind) -> Knowledge:
    """Return the first paths whose table stays within the party's limit; the others are omitted and counted."""
    sizes = [ROOM + len(path.sample_id.encode()) for path in knowledge.paths]
    if kind == "paths":
        texts = ((path.text, path.answer or "") for path in knowledge.paths)
        sizes = [size + sum(len(text.encode()) for text in each) for size, each in zip(sizes, texts, strict=True)]
    ends = list(accumulate(sizes, initial=HEADER))
    fitting = bisect_right(ends, party.limits.table_bytes) - 1
    if fitting >= len(sizes):
        return knowledge
    party.note(
        notices=(
            f"round {knowledge.round}: {len(sizes) - fitting} of {counted(len(sizes), 'path')} of {party.name} are "
            f"left out, since they exceed limits.table_bytes, {party.limits.table_bytes}; {ends[-1]} would be enough",
        )
    )
    return replace(knowledge, paths=knowledge.paths[: max(fitting, 0)])


def score(
    party: Party,
    knowledge: Knowledge,
    k: int,
    *,
    phase: str = "score",
    what: str = "soft target",
    sender: str = "",
) -> dict[str, TokenScores]:
    """Return a party's token scores of the texts in `knowledge`, with at most `k` tokens per position.

    Texts that it cannot trace, or whose scores are not finite, are omitted and counted; see `sound_scores`.
    """
    size = len(party.learner.vocabulary().tokens)
    questions = {sample.id: sample.question for sample in party.task.public}
    paths = [path for path in knowledge.paths if path.text]
    with party.phase(knowledge.round, phase) as progress:
        pairs = [(questions[path.sample_id], path.text) for path in paths]
        found = party.learner.log_probs(pairs, min(k, size), progress=progress)
    by_id = {path.sample_id: scores for path, scores in zip(paths, found, strict=True)}
    return sound_scores(party, knowledge, by_id, size, what=what, sender=sender)


def send_scores(party: Party, round: int, scores: Mapping[str, TokenScores]) -> Payload:
    """Return scores over the party's own vocabulary as message parts; the vocabulary is sent along in the first
    round."""
    own, payload = party.learner.vocabulary(), {}
    if scores:
        payload[SOFT] = write(party, SOFT, Scores(party.name, round, len(own.tokens), scores))
    if round == 1:
        payload[VOCABULARY] = write(party, VOCABULARY, own)
    return payload


def send_scores_each(
    party: Party,
    round: int,
    scores: Mapping[str, TokenScores],
    asked: Mapping[str, SignalSpec | None],
    payload: Payload,
) -> dict[str, Payload]:
    """Return a payload by student, with as many scores as each `asked` for; students that ask for the same get the
    same."""
    most = max((len(each.top.ids[0]) for each in scores.values() if len(each.top.ids)), default=0)
    by_k: dict[int, Payload] = {}
    for k in {signal.k for signal in asked.values() if signal is not None}:
        part = scores if k >= most else {id: fewest(each, k) for id, each in scores.items()}
        by_k[k] = {**payload, **send_scores(party, round, part)}
    return {student: payload if signal is None else by_k[signal.k] for student, signal in asked.items()}


def fewest(scores: TokenScores, k: int) -> TokenScores:
    """Return scores with the `k` likeliest tokens of each position, always including the text's own."""
    ids, log_probs = scores.top.ids, scores.top.log_probs
    own = ids == scores.tokens[:, None]
    order = np.lexsort((ids, np.where(own, -np.inf, -log_probs)), axis=1)[:, :k]
    order = np.take_along_axis(order, np.argsort(np.take_along_axis(ids, order, 1), axis=1), 1)
    top = SparseLogProbs(np.take_along_axis(ids, order, 1), np.take_along_axis(log_probs, order, 1))
    return replace(scores, top=top)


def kinds_of(kind: KnowledgeKind, objective: Objective) -> MessageSchema:
    """Return the kinds of message parts that `send_knowledge` may write."""
    soft = frozenset() if objective.needs.signal_on("teacher") is None else frozenset({SOFT, VOCABULARY})
    return MessageSchema(frozenset({PATHS if kind == "paths" else LIKELIHOODS}), soft)


def kinds_sent(kind: KnowledgeKind, round: int, *, soft: bool) -> tuple[str, ...]:
    """Return the kinds of message parts that `send_knowledge` writes in a round."""
    kinds = (PATHS if kind == "paths" else LIKELIHOODS,)
    if not soft:
        return kinds
    return (*kinds, SOFT, VOCABULARY) if round == 1 else (*kinds, SOFT)


def keep_own_knowledge(party: Party, payload: Payload) -> None:
    """Keep a party's knowledge, without soft targets, until a later phase (`own_knowledge`) needs it."""
    for each in (PATHS, LIKELIHOODS):
        if each in payload:
            party.memory[each] = payload[each]


def own_knowledge(party: Party, round: int, kind: KnowledgeKind) -> Knowledge:
    """Return the knowledge that a party kept in this round. Raises FederationError if it belongs to another party or
    round."""
    if kind == "paths":
        kept = paths.decode(party.memory.pop(PATHS), known_ids=None, limit=None)
    else:
        judgement = likelihoods.decode(party.memory.pop(LIKELIHOODS), known_ids=None, limit=None)
        kept = likelihoods.labelled(judgement, gold_texts(party), party.task.extract)
    if (kept.party, kept.round) != (party.name, round):
        raise FederationError(
            f"{kind}: {party.name} kept those of {kept.party!r} in round {kept.round}, not its own of round {round}"
        )
    return kept


def receive_knowledge(party: Party, payload: Payload, teacher: str | None, round: int, kind: KnowledgeKind) -> Offer:
    """Return what `teacher` (None: any sender) sent in this round.

    The result of an earlier check of the payload is reused and then dropped. Raises CodecError for invalid parts,
    FederationError for knowledge of another party or round. Samples that it does not cover are omitted and counted.
    """
    try:
        return _offer(party, payload, teacher, round, kind)
    finally:
        forget(payload)


def _offer(party: Party, payload: Payload, teacher: str | None, round: int, kind: KnowledgeKind) -> Offer:
    read = reading(party, payload)
    received: Received = read.part(PATHS if kind == "paths" else LIKELIHOODS)
    knowledge = received.knowledge
    if teacher not in (None, knowledge.party) or knowledge.round != round:
        raise FederationError(
            f"{kind}: received those of {knowledge.party!r} in round {knowledge.round}; expected those of "
            f"{teacher or 'the server'!r} in round {round}"
        )
    note_failures(party, f"round {round}, paths of {knowledge.party}", received.failures, len(knowledge.paths))
    if (missing := len(party.task.public) - len(knowledge.paths)) and knowledge.party != party.name:
        party.note(
            notices=(
                f"round {round}: {knowledge.party} sent nothing about {counted(missing, 'public sample')}; "
                f"{party.name} continues without them",
            )
        )
    if party.objective.needs.signal_on("teacher") is None or SOFT not in payload:
        return Offer(knowledge)
    words = words_of(party, read, knowledge.party, round, "soft targets")
    if words is None:
        return Offer(knowledge)
    found: SoftTargets = read.part(SOFT)
    if (found.party, found.round, found.vocabulary_size) != (knowledge.party, round, len(words.tokens)):
        raise FederationError(
            f"soft targets: received those of {found.party!r} in round {found.round} over "
            f"{counted(found.vocabulary_size, 'token')}; expected those of {knowledge.party!r} in round {round} over "
            f"{len(words.tokens)}"
        )
    return Offer(knowledge, sound_scores(party, knowledge, found, len(words.tokens)), words)


def words_of(party: Party, read: Reading, sender: str, round: int, what: str) -> Vocabulary | None:
    """Return the vocabulary of a message's sender, which the party keeps; None, with a notice, if it has none.

    `what` is left out without it.
    """
    if VOCABULARY in read.payload:
        party.memory[vocabulary.key_of(sender)] = read.payload[VOCABULARY]
    words = vocabulary.vocabulary_of(read, sender)
    if words is None:  # the message with it was refused or late
        notice = f"round {round}: {what} of {sender} are left out, since {party.name} never received its vocabulary"
        party.note(notices=(notice,))
    return words


def read_knowledge(party: Party, payload: Payload, kind: KnowledgeKind) -> Knowledge:
    """Return the verified knowledge in a payload, for callers that need it before the round reads it."""
    return part(party, payload, PATHS if kind == "paths" else LIKELIHOODS).knowledge


def sound_scores(
    party: Party,
    texts: Knowledge,
    scores: Mapping[str, Scored | None],
    size: int,
    *,
    what: str = "soft target",
    sender: str = "",
) -> dict[str, Scored]:
    """Return the usable scores of `texts`, over `size` tokens; `sender` gave them, by default the texts' writer.

    The others are counted in a notice, the first with its fault.
    """
    ends = {path.sample_id: len(path.text.encode()) + 1 for path in texts.paths}  # end-of-sequence has one more byte
    sound: dict[str, Scored] = {}
    faults: list[str] = []
    for sample_id in scores:
        try:
            each = scores[sample_id]
            if each is None:
                raise InputError("its tokens cannot be traced back to the bytes of the text")
            check_scores(each, size) if isinstance(each, TokenScores) else check_offsets(each.offsets)
            if each.offsets.max(initial=0) > ends[sample_id]:
                raise InputError(f"offsets beyond the end of the text, byte {ends[sample_id]}")
            sound[sample_id] = each
        except (InputError, CodecError) as error:
            faults.append(f"sample {sample_id!r}, {error}")
    if faults:
        party.note(
            notices=(
                f"round {texts.round}: {len(faults)} of {counted(len(scores), what)} of {sender or texts.party} "
                f"{plural(len(faults), 'is', 'are')} left out; the first: {faults[0]}",
            )
        )
    return sound


def total_of(scores: TokenScores | TokenLogProbs, text: str) -> float | None:
    """Return the log-prob of a whole text, nats; None if its scores stop before its end, where a context did."""
    if scores.offsets.max(initial=0) < len(text.encode()):
        return None
    return float(scores.own().sum(dtype=np.float64))


def encode(knowledge: Knowledge, kind: KnowledgeKind) -> Payload:
    """Return knowledge as message parts, unchanged."""
    if kind == "paths":
        return {PATHS: paths.encode(knowledge)}
    return {LIKELIHOODS: likelihoods.encode(likelihoods.judgement(knowledge))}
