"""Add a teacher's scores to lessons: as soft targets in the learner's own tokens, or as chunks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lada.alignment import Spans, align_mined, align_spans, carry_batch, chunk_log_probs, map_vocabulary
from lada.alignment.shuffled import shuffled
from lada.core.errors import InputError
from lada.core.needs import SignalSpec
from lada.core.seeds import generator
from lada.core.terms import (
    ChunkLogProbs,
    Lesson,
    SparseLogProbs,
    TokenizedText,
    TokenLogProbs,
    TokenScores,
    Vocabulary,
)
from lada.models.objective import Objective
from lada.rounds.knowledge import Offer
from lada.rounds.party import Party


def check_wants_soft_targets(host: str, objective: Objective) -> None:
    """Raise InputError for an objective that uses no teacher's distributions."""
    signal = objective.needs.signal_on("teacher")
    if signal is None or signal.as_chunks:
        raise InputError(
            f"objective: host {host!r} exchanges distributions over tokens, but this objective uses none; expected "
            "soft_targets, or plugin: none, which selects it"
        )


def with_soft_targets(party: Party, lessons: Sequence[Lesson], offer: Offer) -> list[Lesson]:
    """Return lessons with the teacher's scores, if they are on its own texts and it scored these.

    Raises InputError as `with_scores` does.
    """
    wish = party.objective.needs.signal_on("teacher")
    if wish is None or offer.vocabulary is None:
        return list(lessons)
    texts = {path.sample_id: path.text for path in offer.knowledge.paths}
    scored = {
        i: offer.scores[each.sample_id]
        for i, each in enumerate(lessons)
        if each.sample_id in offer.scores and each.chosen == texts[each.sample_id]
    }
    return with_scores(party, lessons, scored, offer, wish)


def with_scores(
    party: Party,
    lessons: Sequence[Lesson],
    scored: Mapping[int, TokenScores | TokenLogProbs],
    offer: Offer,
    wish: SignalSpec,
) -> list[Lesson]:
    """Return lessons with a teacher's scores of their chosen texts, `scored` by the lesson's place.

    A lesson whose text the party cannot trace in its own tokens stays as it is. Raises InputError for a teacher whose
    tokenizer shares no byte with the party's.
    """
    teacher = offer.knowledge.party
    spelled = dict(zip(scored, party.learner.tokenize([lessons[i].chosen for i in scored]), strict=True))
    known = {i: spelling for i, spelling in spelled.items() if spelling is not None}
    pair = Pair(
        [scored[i] for i in known],
        offer.vocabulary or Vocabulary((), None),
        list(known.values()),
        party.learner.vocabulary(),
    )
    if offer.vocabulary is not None and not pair.have_a_byte_in_common:
        raise InputError(
            f"soft targets: the tokenizers of {teacher!r} and {party.name!r} have no byte in common, so nothing can "
            "be transferred; expected tokenizers for the same scripts, or an objective without soft targets"
        )
    taught = list(lessons)
    if wish.as_chunks:
        for i, chunks in zip(known, pair.chunks(wish), strict=True):
            taught[i] = replace(lessons[i], chunks=chunks)
    else:
        targets = pair.carried(wish)
        if wish.shuffled:
            rng = generator(party.seed, offer.knowledge.round, "shuffled", teacher, party.name)
            targets = shuffled(targets, [spelling.tokens for spelling in known.values()], rng)
        for i, soft in zip(known, targets, strict=True):
            taught[i] = replace(lessons[i], soft=soft)
    return taught


@dataclass(frozen=True, slots=True)
class Pair:
    """Texts as scored by a teacher and as tokenized by the student, with both vocabularies.

    Chunks that are aligned by offsets need neither the teacher's tokens nor its vocabulary.
    """

    scores: Sequence[TokenScores | TokenLogProbs]
    theirs: Vocabulary
    spelled: Sequence[TokenizedText]
    own: Vocabulary

    @property
    def have_a_byte_in_common(self) -> bool:
        """Whether the two vocabularies share any byte."""
        return not set(b"".join(self.theirs.tokens)).isdisjoint(b"".join(self.own.tokens))

    def carried(self, wish: SignalSpec) -> list[SparseLogProbs]:
        """Return the scores as soft targets in the student's tokens, one row per token.

        With a shared vocabulary, texts with the same tokens need no alignment.
        """
        same = self.theirs == self.own
        told = self._told()
        result = [scores.top for scores in told]
        rest = [
            i
            for i, (scores, spelled) in enumerate(zip(told, self.spelled, strict=True))
            if not (same and np.array_equal(scores.tokens, spelled.tokens))
        ]
        if rest:
            other = replace(self, scores=[self.scores[i] for i in rest], spelled=[self.spelled[i] for i in rest])
            for i, carried in zip(rest, other._aligned(wish), strict=True):
                result[i] = carried
        return result

    def chunks(self, wish: SignalSpec) -> list[ChunkLogProbs]:
        """Return the teacher's log-probs of the chunks that both tokenizers share."""
        spans, result = self._spans(wish), []
        for row, scores in enumerate(self.scores):
            mine = spans.row == row
            part = Spans(np.zeros(mine.sum(), np.int32), spans.source[mine], spans.target[mine])
            result.append(ChunkLogProbs(part.target, chunk_log_probs(scores.own(), part, "source")))
        return result

    def _aligned(self, wish: SignalSpec) -> list[SparseLogProbs]:
        if self.theirs == self.own:  # id to id, even where a vocabulary holds the same bytes twice
            mapping = np.arange(len(self.own.tokens), dtype=np.int32)
        else:
            mapping = map_vocabulary(self.theirs.tokens, self.own.tokens).copy()
            if self.theirs.eos is not None and self.own.eos is not None:
                mapping[self.theirs.eos] = self.own.eos
        items = [(a, b.tokens, b.offsets) for a, b in zip(self._told(), self.spelled, strict=True)]
        return carry_batch(items, mapping, spans=self._spans(wish), inside=wish.inside)

    def _spans(self, wish: SignalSpec) -> Spans:
        if wish.alignment == "mined":
            return align_mined(_words(self._told(), self.theirs), _words(self.spelled, self.own))
        return align_spans([text.offsets for text in self.scores], [text.offsets for text in self.spelled])

    def _told(self) -> list[TokenScores]:
        """Return the scores, which name tokens. Raises InputError for those that do not."""
        told = [each for each in self.scores if isinstance(each, TokenScores)]
        if len(told) < len(self.scores):
            raise InputError("soft targets: of a teacher that sent log-probs without their tokens")
        return told


def _words(texts: Sequence[TokenScores | TokenizedText], vocabulary: Vocabulary) -> list[list[bytes]]:
    return [[vocabulary.tokens[token] for token in text.tokens.tolist()] for text in texts]
