"""What a party lets others know of the public samples, as messages: paths or likelihoods, soft targets, vocabulary.

`paths`: each party writes a path of its own per question; the path travels with its writer's likelihood. `labels`:
everybody has the gold texts, as in FedMKT's paper, so that only the likelihood of each travels. With either, an
objective may ask for soft targets: the likeliest tokens at each position of the same text.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from operator import is_

from lada.alignment import check_scores
from lada.codecs import likelihoods, paths, samples, soft_targets, table, vocabulary
from lada.codecs.likelihoods import Judgement
from lada.core.errors import CodecError, FederationError, InputError
from lada.core.known import Known, forget, read
from lada.core.plural import counted, plural
from lada.core.terms import Knowledge, Likelihood, Path, TokenScores, Vocabulary
from lada.models.objective import Objective
from lada.privacy.discretion import blur, redact
from lada.rounds.base import Kinds, Payload
from lada.rounds.options import Kind
from lada.rounds.party import Party
from lada.rounds.steps import gold_lessons, in_range, write_paths
from lada.rounds.unchanged import while_unchanged
from lada.rounds.verdicts import Verdict, checked, judged, note_failures
from lada.rounds.withholding import keep_back, keep_back_scores, may_tell

TOKENS_PER_BYTE = 16
"""Most tokens of a text per byte, and beside these: a normaliser (NFKC) makes eleven bytes of one."""
ROOM, HEADER = 48, 4096
"""Bytes that a row of a table takes at most beside its texts, and what its header and batches take beside the rows."""
PATHS, LIKELIHOODS, SOFT, VOCABULARY = "paths", "likelihoods", "soft_targets", "vocabulary"
TRUE = "paths, true"
"""What was made of a payload whose writer says of its answers what is so: on how many a verifier failed, by reason. To
read it again takes no verifying."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a party was told by another: its knowledge, and for soft targets its token scores and vocabulary."""

    knowledge: Knowledge
    scores: Mapping[str, TokenScores] = field(default_factory=dict)
    vocabulary: Vocabulary | None = None


def know(party: Party, round: int, purpose: str, kind: Kind, *, tries: int = 1) -> Knowledge:
    """Let a party write (in `tries`, see `write_paths`) or judge a path for every public sample; timed as `purpose`.

    As long as its weights are the same, it does so once: later rounds have the paths of the first time, unless it had
    no answer to some.
    """
    public = party.task.public

    def written() -> Knowledge:
        return in_range(party, write_paths(party, public, round, purpose, tries=tries, answered=True))

    def judged() -> Knowledge:
        texts = _labels(party)
        with party.phase(round, purpose) as progress:
            found = party.learner.judge([texts[id] for id in texts], progress=progress)
        told = Judgement(party.name, round, dict(zip(texts, found, strict=True)))
        return in_range(party, _labelled(party, texts, told))

    if kind == "paths":
        return while_unchanged(party, round, public, ["paths", tries], written, least=len(public))
    return while_unchanged(party, round, public, ["labels", [sample.rationale for sample in public]], judged)


def tell(party: Party, knowledge: Knowledge, kind: Kind, *, soft: bool = True) -> Payload:
    """Return a party's knowledge as message parts, with soft targets where its objective wants some and `soft`.

    The vocabulary goes along in the first round. A sample whose scores are not finite is left out and counted. What
    the party keeps back of its texts and losses is kept back here; a changed text gets no soft targets, since these
    spell out the likeliest tokens of it.
    """
    knowledge, changed = _discreet(party, knowledge, kind)
    knowledge = _fitting(party, knowledge, kind)
    payload = dict(encode(knowledge, kind))
    if party.objective.soft is None or not soft:
        return payload
    told = replace(knowledge, paths=tuple(path for path in knowledge.paths if path.sample_id not in changed))
    if not may_tell(party, party.learner.vocabulary()):
        notice = (
            f"round {knowledge.round}: {party.name} tells no token scores, since its vocabulary repeats private text"
        )
        party.note(notices=(notice,))
        return payload
    scores = keep_back_scores(party, knowledge.round, score(party, told))
    return {**payload, **tell_scores(party, knowledge.round, scores)}


def _fitting(party: Party, knowledge: Knowledge, kind: Kind) -> Knowledge:
    """Return the first paths of which a table lies within the party's limit; the others are left out and counted."""
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
            f"left out, since a table has at most limits.table_bytes, {party.limits.table_bytes}; {ends[-1]} would do",
        )
    )
    return replace(knowledge, paths=knowledge.paths[: max(fitting, 0)])


def score(party: Party, knowledge: Knowledge) -> dict[str, TokenScores]:
    """Return what a party makes of the texts of its knowledge token by token, as its objective wants it.

    Texts that it cannot trace or whose scores are not finite are left out and counted.
    """
    assert party.objective.soft is not None
    size = len(party.learner.vocabulary().tokens)
    questions = {sample.id: sample.question for sample in party.task.public}
    paths = [path for path in knowledge.paths if path.text]
    with party.phase(knowledge.round, "score") as progress:
        pairs = [(questions[path.sample_id], path.text) for path in paths]
        found = party.learner.log_probs(pairs, min(party.objective.soft.k, size), progress=progress)
    by_id = {path.sample_id: scores for path, scores in zip(paths, found, strict=True)}
    return sound_scores(party, knowledge, by_id, size)


def tell_scores(party: Party, round: int, scores: Mapping[str, TokenScores]) -> Payload:
    """Return scores over the party's own vocabulary as message parts; the vocabulary goes along in the first round."""
    own, payload = party.learner.vocabulary(), {}
    if scores:
        payload[SOFT] = soft_targets.encode(scores, vocabulary_size=len(own.tokens), party=party.name, round=round)
    if round == 1:
        payload[VOCABULARY] = vocabulary.encode(own.tokens, own.eos)
    return payload


def kinds_of(kind: Kind, objective: Objective) -> Kinds:
    """Return the kinds of messages that `tell` writes."""
    soft = frozenset() if objective.soft is None else frozenset({SOFT, VOCABULARY})
    return Kinds(frozenset({PATHS if kind == "paths" else LIKELIHOODS}), soft)


def kinds_told(kind: Kind, round: int, *, soft: bool) -> tuple[str, ...]:
    """Return the kinds of message parts that `tell` gives in a round."""
    kinds = (PATHS if kind == "paths" else LIKELIHOODS,)
    if not soft:
        return kinds
    return (*kinds, SOFT, VOCABULARY) if round == 1 else (*kinds, SOFT)


def _discreet(party: Party, knowledge: Knowledge, kind: Kind) -> tuple[Knowledge, frozenset[str]]:
    """Return knowledge as it may leave, and the ids of the samples whose texts were changed; what was done is counted.

    Gold texts of public samples, which everybody has, stay as they are.
    """
    changed: set[str] = set()

    def redacted(paths: Knowledge) -> Knowledge:
        paths, ids = _redacted(party, paths)
        changed.difference_update(path.sample_id for path in paths.paths)
        changed.update(ids)
        return paths

    if kind == "paths":
        knowledge = keep_back(party, redacted(knowledge), redacted)
    if party.blur:
        rng = party.blur.generator(party.seed, knowledge.round, "blur", party.name)
        knowledge = replace(knowledge, paths=blur(party.blur, knowledge.paths, rng))
    return knowledge, frozenset(changed)


def _redacted(party: Party, knowledge: Knowledge) -> tuple[Knowledge, frozenset[str]]:
    """Return knowledge without what the party's redaction takes out, and the ids of the samples that it changed."""
    if party.redaction is None:
        return knowledge, frozenset()
    round, samples = knowledge.round, {sample.id: sample for sample in party.task.public}

    def judge(texts: Sequence[tuple[str, str]]) -> list[Likelihood]:
        with party.phase(round, "judge-redacted") as progress:
            return party.learner.judge([(samples[id].question, text) for id, text in texts], progress=progress)

    failures: Counter[str] = Counter()

    def verify(id: str, text: str) -> Verdict:
        return next(judged(party, [(samples[id], text)], failures))

    redacted = redact(party.redaction, knowledge.paths, judge, verify)
    note_failures(party, f"round {round}, redact", failures, len(redacted.changed))
    if redacted.changed or redacted.withheld:
        party.note(
            notices=(
                f"round {round}: {party.name} redacted {len(redacted.changed)} of "
                f"{counted(len(knowledge.paths), 'path')}, "
                f"{redacted.answers} of them in their answers, and held back {redacted.withheld} for time",
            )
        )
    return in_range(party, replace(knowledge, paths=redacted.paths)), redacted.changed


def keep_own(party: Party, payload: Payload) -> None:
    """Keep what a party knows, but for soft targets, until a later phase (`own`) needs it."""
    for part in (PATHS, LIKELIHOODS):
        if part in payload:
            party.memory[part] = payload[part]


def own(party: Party, round: int, kind: Kind) -> Knowledge:
    """Return what a party knows in this round and kept. Raises FederationError for what it kept of another."""
    if kind == "paths":
        kept = paths.decode(party.memory.pop(PATHS), known_ids=None, limit=None)
    else:
        told = likelihoods.decode(party.memory.pop(LIKELIHOODS), known_ids=None, limit=None)
        kept = _labelled(party, _labels(party), told)
    if (kept.party, kept.round) != (party.name, round):
        raise FederationError(
            f"{kind}: {party.name} kept those of {kept.party!r} in round {kept.round}, not of {round}"
        )
    return kept


def hear(party: Party, payload: Payload, teacher: str | None, round: int, kind: Kind) -> Offer:
    """Return what `teacher` (None: whoever it is) told of this round.

    What a check has made of the payload is taken from it and forgotten there. Raises CodecError for parts that hold
    nothing of the kind, FederationError for somebody else's knowledge or another round's. Samples of which it says
    nothing are left out and counted.
    """
    told = _told(party, payload, kind)
    try:
        return _offer(party, payload, told, teacher, round, kind)
    finally:
        forget(payload)


def _offer(party: Party, payload: Payload, heard: "Told", teacher: str | None, round: int, kind: Kind) -> Offer:
    knowledge = heard.knowledge
    if teacher not in (None, knowledge.party) or knowledge.round != round:
        raise FederationError(
            f"{kind}: of {knowledge.party!r} in round {knowledge.round}; expected those of {teacher or 'the server'!r} "
            f"in round {round}"
        )
    note_failures(party, f"round {round}, paths of {knowledge.party}", heard.failures, len(knowledge.paths))
    if (missing := len(party.task.public) - len(knowledge.paths)) and knowledge.party != party.name:
        party.note(
            notices=(
                f"round {round}: {knowledge.party} said nothing of {counted(missing, 'public sample')}; "
                f"{party.name} goes on "
                "without them",
            )
        )
    if party.objective.soft is None or SOFT not in payload:
        return Offer(knowledge)
    if VOCABULARY in payload:
        party.memory[f"{VOCABULARY} {knowledge.party}"] = payload[VOCABULARY]
    words = _vocabulary_of(party, knowledge.party, payload)
    if words is None:  # the message that had it was refused or late
        party.note(
            notices=(
                f"round {round}: soft targets of {knowledge.party} are left out, since its vocabulary never came to "
                f"{party.name}",
            )
        )
        return Offer(knowledge)
    told = _soft(party, payload, knowledge)
    if (told.party, told.round, told.vocabulary_size) != (knowledge.party, round, len(words.tokens)):
        raise FederationError(
            f"soft targets: of {told.party!r} in round {told.round} over {counted(told.vocabulary_size, 'token')}; "
            f"expected "
            f"those of {knowledge.party!r} in round {round} over {len(words.tokens)}"
        )
    return Offer(knowledge, sound_scores(party, knowledge, told, len(words.tokens)), words)


def read_knowledge(party: Party, payload: Payload, kind: Kind) -> Knowledge:
    """Return what was told of public samples, verified, for one who looks before it is heard."""
    return _told(party, payload, kind).knowledge


def check_knowledge(party: Party, sender: str, round: int, payload: Payload) -> None:
    """Raise CodecError or FederationError unless `payload` is what `sender` knows in this round; change nothing.

    Ids are those of public samples that the sender has a text for, texts are no longer than the limit, soft targets
    have as many tokens per row as the objective wants. Single soft targets are looked at when they are used.
    """
    kind = "paths" if PATHS in payload else "labels"
    limits = party.limits
    knowledge = _told(party, payload, kind, seconds=limits.check_seconds).knowledge
    if (knowledge.party, knowledge.round) != (sender, round):
        raise FederationError(f"{kind}: of another party or round than the message")
    words = _vocabulary_of(party, sender, payload) if payload.keys() & {VOCABULARY, SOFT} else None
    if SOFT in payload:
        told = _soft(party, payload, knowledge)
        if (told.party, told.round) != (sender, round) or (words and told.vocabulary_size != len(words.tokens)):
            raise FederationError("soft targets: of another party, round or vocabulary than the message")
        if party.objective.soft is None or told.k > party.objective.soft.k:
            raise FederationError(f"soft targets: {counted(told.k, 'token')} per row, more than were asked for")


def sound_scores(
    party: Party, texts: Knowledge, scores: Mapping[str, TokenScores | None], size: int
) -> dict[str, TokenScores]:
    """Return the scores of `texts` that can be learnt from, over `size` tokens.

    The others are counted in a notice, the first with its fault.
    """
    ends = {path.sample_id: len(path.text.encode()) + 1 for path in texts.paths}  # end-of-sequence has one byte more
    sound: dict[str, TokenScores] = {}
    faults: list[str] = []
    for sample_id in scores:
        try:
            each = scores[sample_id]
            if each is None:
                raise InputError("its tokens do not lead back to the bytes of the text")
            check_scores(each, size)
            if each.offsets.max(initial=0) > ends[sample_id]:
                raise InputError(f"offsets beyond the end of the text, byte {ends[sample_id]}")
            sound[sample_id] = each
        except (InputError, CodecError) as error:
            faults.append(f"sample {sample_id!r}, {error}")
    if faults:
        party.note(
            notices=(
                f"round {texts.round}: {len(faults)} of {counted(len(scores), 'soft target')} of {texts.party} "
                f"{plural(len(faults), 'is', 'are')} left out; the first: {faults[0]}",
            )
        )
    return sound


COUNTS: Mapping[str, Callable[[bytes], int]] = {
    PATHS: partial(table.count, kind=paths.KIND),
    LIKELIHOODS: partial(table.count, kind=likelihoods.KIND),
    SOFT: soft_targets.count,
    samples.KIND: partial(table.count, kind=samples.KIND),
}
"""By kind, what returns how many samples a part speaks of."""


def samples_in(kind: str, payload: Payload) -> int | None:
    """Return how many samples a message part speaks of, for the ledger; None where that is not to be said.

    Only a header is read, once for a known payload; whether the part holds what that says is for a check to find.
    """
    made = payload.made.get(kind) if isinstance(payload, Known) else None
    if isinstance(made, Told | soft_targets.SoftTargets):
        return len(made)
    if kind not in COUNTS:
        return None
    try:
        return read(payload, f"{kind}, counted", lambda: COUNTS[kind](payload[kind]))
    except CodecError:
        return None


def _labels(party: Party) -> dict[str, tuple[str, str]]:
    """Return question and gold text of each public sample that has one. Raises InputError where none has."""
    texts = {lesson.sample_id: (lesson.question, lesson.chosen) for lesson in gold_lessons(party, party.task.public)}
    if not texts:
        raise InputError("host.options.knowledge: 'labels' needs public samples with gold answers; expected 'paths'")
    return texts


def _labelled(party: Party, texts: Mapping[str, tuple[str, str]], judgement: Judgement) -> Knowledge:
    """Return likelihoods of the gold `texts` as if each were a path of the party that judged it."""
    return Knowledge(
        judgement.party,
        judgement.round,
        tuple(
            Path(id, judgement.party, texts[id][1], party.task.extract(texts[id][1]), True, likelihood)
            for id, likelihood in judgement.likelihoods.items()
        ),
    )


def encode(knowledge: Knowledge, kind: Kind) -> Payload:
    """Return knowledge as message parts, as it is."""
    if kind == "paths":
        return {PATHS: paths.encode(knowledge)}
    judged = {path.sample_id: path.likelihood for path in knowledge.paths}
    return {LIKELIHOODS: likelihoods.encode(Judgement(knowledge.party, knowledge.round, judged))}


@dataclass(frozen=True, slots=True)
class Told:
    """Knowledge as another told it, verified, and on how many answers a verifier failed, by reason."""

    knowledge: Knowledge
    failures: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.knowledge.paths)


def _told(party: Party, payload: Payload, kind: Kind, *, seconds: float = math.inf) -> Told:
    """Return what a payload tells, read once. Raises CodecError for other bytes, FederationError for what cannot be."""
    return read(payload, PATHS if kind == "paths" else LIKELIHOODS, lambda: _decode(party, payload, kind, seconds))


def _decode(party: Party, payload: Payload, kind: Kind, seconds: float) -> Told:
    limit = party.limits.table_bytes
    if kind == "paths":
        told = paths.decode(payload[PATHS], known_ids={sample.id for sample in party.task.public}, limit=limit)
        if isinstance(payload, Known) and TRUE in payload.made:
            return Told(told, payload.made[TRUE])
        verified = _verified(party, told, seconds)
        if isinstance(payload, Known) and all(map(is_, verified.knowledge.paths, told.paths)):
            payload.keep(TRUE, verified.failures)
        return verified
    texts = _labels(party)
    judged = likelihoods.decode(payload[LIKELIHOODS], known_ids=texts.keys(), limit=limit)
    for id, likelihood in judged.likelihoods.items():
        _check_size(party, likelihood, texts[id][1])
    return Told(_labelled(party, texts, judged))


def _verified(party: Party, told: Knowledge, seconds: float) -> Told:
    """Return paths with the answer and the verdict that the texts have, whatever their writer says.

    Raises FederationError for a text longer than the limit or of another size, and where all that takes more than
    `seconds`.
    """
    samples, longest = {sample.id: sample for sample in party.task.public}, party.limits.path_chars
    for path in told.paths:
        if len(path.text) > longest:
            raise FederationError(f"paths: a text of more than limits.path_chars, {counted(longest, 'character')}")
        _check_size(party, path.likelihood, path.text)
    failures: Counter[str] = Counter()
    found = checked(party, [(samples[path.sample_id], path.text) for path in told.paths], failures, seconds)
    verified = (  # the same path where its writer says what is so
        path if (path.answer, path.right) == verdict else replace(path, answer=verdict[0], right=verdict[1])
        for path, verdict in zip(told.paths, found, strict=True)
    )
    return Told(replace(told, paths=tuple(verified)), failures)


def _check_size(party: Party, likelihood: Likelihood, text: str) -> None:
    """Raise FederationError where a likelihood cannot be of a text, which everybody has: by its bytes or its tokens.

    A client's model is its own and has TOKENS_PER_BYTE at most. The server's may be behind an API, which counts what it
    thought and does not show.
    """
    size = len(text.encode())
    if likelihood.size != size:
        raise FederationError("likelihoods: of a text of another size")
    if party.role == "server" and likelihood.tokens > TOKENS_PER_BYTE * (size + 1):
        raise FederationError(f"likelihoods: more than {TOKENS_PER_BYTE} tokens per byte of a text")


def _soft(party: Party, payload: Payload, knowledge: Knowledge) -> soft_targets.SoftTargets:
    """Return the soft targets of the texts of `knowledge`; FederationError for more tokens than a text can have."""
    return read(payload, SOFT, lambda: _read_soft(party, payload[SOFT], knowledge))


def _read_soft(party: Party, data: bytes, knowledge: Knowledge) -> soft_targets.SoftTargets:
    limits, sizes = party.limits, {path.sample_id: len(path.text.encode()) for path in knowledge.paths}
    told = soft_targets.SoftTargets(
        data, known_ids=sizes.keys(), limit=limits.table_bytes, sample_limit=limits.sample_bytes
    )
    if any(told.tokens(id) > TOKENS_PER_BYTE * (sizes[id] + 1) for id in told):
        raise FederationError(f"soft targets: more than {TOKENS_PER_BYTE} tokens per byte of a text")
    return told


def _vocabulary_of(party: Party, teacher: str, payload: Payload) -> Vocabulary | None:
    """Return a teacher's vocabulary from this message or, since it is sent once, from an earlier one; None: neither."""

    def make() -> Vocabulary | None:
        data = payload.get(VOCABULARY, party.memory.get(f"{VOCABULARY} {teacher}"))
        if data is None:
            return None
        tokens, eos = vocabulary.decode(data, limit=party.limits.table_bytes)
        return Vocabulary(tuple(tokens), eos)

    return read(payload, VOCABULARY, make)
