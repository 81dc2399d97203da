"""Give lessons a teacher's soft targets, carried into the learner's own tokens."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lada.alignment import align_mined, align_spans, cached_map, carry_batch
from lada.core.errors import InputError
from lada.core.terms import Lesson, SparseLogProbs, Spelled, TokenScores, Vocabulary
from lada.hosts.knowledge import Offer
from lada.hosts.party import Party
from lada.models.objective import SoftWish


def with_soft_targets(party: Party, lessons: Sequence[Lesson], offer: Offer) -> list[Lesson]:
    """Return lessons with soft targets, where they are on the teacher's own texts and it scored these.

    Raises InputError for a teacher whose tokenizer has no byte in common with the party's.
    """
    wish, teacher = party.objective.soft, offer.knowledge.party
    if wish is None or offer.vocabulary is None:
        return list(lessons)
    texts = {path.sample_id: path.text for path in offer.knowledge.paths}
    aimed = [
        lesson for lesson in lessons if lesson.sample_id in offer.scores and lesson.chosen == texts[lesson.sample_id]
    ]
    spelled = party.learner.spell([lesson.chosen for lesson in aimed])
    scores = [offer.scores[lesson.sample_id] for lesson in aimed]
    names = f"the tokenizers of {teacher!r} and {party.name!r}"
    carried = carry_all(scores, offer.vocabulary, spelled, party.learner.vocabulary(), wish, names)
    soft = dict(zip((lesson.sample_id for lesson in aimed), carried, strict=True))
    return [replace(lesson, soft=soft.get(lesson.sample_id)) for lesson in lessons]


def carry_all(
    scores: Sequence[TokenScores],
    theirs: Vocabulary,
    spelled: Sequence[Spelled],
    own: Vocabulary,
    wish: SoftWish,
    names: str,
) -> list[SparseLogProbs]:
    """Return a teacher's scores of some texts as soft targets in a student's tokens, one row per token.

    Parties with one vocabulary skip the alignment where they cut a text in the same way. Raises InputError where the
    two vocabularies (`names`) have no byte in common.
    """
    same = theirs == own
    alike = [same and np.array_equal(a.tokens, b.tokens) for a, b in zip(scores, spelled, strict=True)]
    rest = [i for i, is_alike in enumerate(alike) if not is_alike]
    result = [a.top for a in scores]
    if rest:
        aligned = _carry([scores[i] for i in rest], theirs, [spelled[i] for i in rest], own, wish, names)
        for i, carried in zip(rest, aligned, strict=True):
            result[i] = carried
    return result


def _carry(
    scores: Sequence[TokenScores],
    theirs: Vocabulary,
    spelled: Sequence[Spelled],
    own: Vocabulary,
    wish: SoftWish,
    names: str,
) -> list[SparseLogProbs]:
    if set(b"".join(theirs.tokens)).isdisjoint(b"".join(own.tokens)):
        raise InputError(
            f"soft targets: {names} have no byte in common, so nothing can be carried across; expected tokenizers of "
            "the same scripts, or an objective without soft targets"
        )
    mapping = cached_map(theirs.tokens, own.tokens).copy()
    mapping[theirs.eos] = own.eos
    if wish.alignment == "mined":
        spans = align_mined(_words(scores, theirs), _words(spelled, own))
    else:
        spans = align_spans([a.offsets for a in scores], [b.offsets for b in spelled])
    items = [(a, b.tokens, b.offsets) for a, b in zip(scores, spelled, strict=True)]
    return carry_batch(items, mapping, spans=spans, inside=wish.inside)


def _words(texts: Sequence[TokenScores | Spelled], vocabulary: Vocabulary) -> list[list[bytes]]:
    return [[vocabulary.tokens[token] for token in text.tokens.tolist()] for text in texts]
