"""A party learns the joint prediction of several for the gold texts: a consensus that belongs to no party."""

from collections.abc import Mapping, Sequence

from lada.core.terms import Knowledge, Lesson, Likelihood, Path, SparseLogProbs, TokenizedText, TokenScores
from lada.rounds.allocating import allocate_offers
from lada.rounds.consensus import Average, consensus
from lada.rounds.distilling import Replay, distil, lessons_of
from lada.rounds.knowledge import Offer
from lada.rounds.party import Party
from lada.rounds.steps import gold_lessons
from lada.rounds.trust import contradicting, note_contradicting, text_losses

CONSENSUS = "consensus"
"""The teacher's name in allocations if it is not a party."""


def add_opponents(party: Party, round: int, offer: Offer, mine: Knowledge, replay: Replay) -> None:
    """Let a party learn the consensus on the samples that its allocator chooses."""
    allocation = allocate_offers(party, round, offer.knowledge, mine, replay=replay)
    lessons = lessons_of(party, allocation, offer, mine)
    distil(party, round, lessons, mine, replay=replay, teachers="the consensus")


def merge_received(
    party: Party,
    round: int,
    spelled: Mapping[str, TokenizedText],
    said: Mapping[str, Mapping[str, SparseLogProbs]],
    average: Average,
    temperature: float = 1.0,
) -> dict[str, TokenScores]:
    """Return the joint scores of the members that can be believed; see `believed` and `merge_members`."""
    return merge_members(party, spelled, believed(party, round, spelled, said), average, temperature)


def believed(
    party: Party, round: int, spelled: Mapping[str, TokenizedText], said: Mapping[str, Mapping[str, SparseLogProbs]]
) -> dict[str, Mapping[str, SparseLogProbs]]:
    """Return what the members `said`, by member and sample, without those that contradict the gold texts.

    See lada.rounds.trust; a notice names those excluded.
    """
    losses = {member: text_losses(party, texts, spelled) for member, texts in said.items()}
    against = contradicting(losses, judge=party.name)
    note_contradicting(party, round, against)
    return {member: texts for member, texts in said.items() if member not in against}


def merge_members(
    party: Party,
    spelled: Mapping[str, TokenizedText],
    said: Mapping[str, Mapping[str, SparseLogProbs]],
    average: Average,
    temperature: float = 1.0,
    weights: Mapping[str, float] | None = None,
) -> dict[str, TokenScores]:
    """Return the members' joint scores of the texts `spelled` in the party's tokens, by sample.

    `said` is by member and sample, `weights` by member; members without a weight above 0 do not count. Texts without
    any member are left out.
    """
    shares = dict.fromkeys(said, 1.0) if weights is None else {m: weights.get(m, 0.0) for m in said}
    merged = {}
    for id, each in spelled.items():
        members = [member for member, texts in said.items() if id in texts and shares[member] > 0]
        if members:
            of = [said[member][id] for member in members]
            merged[id] = merge(party, each, of, average, temperature, [shares[member] for member in members])
    return merged


def merge(
    party: Party,
    spelled: TokenizedText,
    members: Sequence[SparseLogProbs],
    average: Average,
    temperature: float = 1.0,
    weights: Sequence[float] | None = None,
) -> TokenScores:
    """Return the members' joint scores of one text in the party's tokens, as far as all their contexts reach."""
    size, length = len(party.learner.vocabulary().tokens), min(len(member.ids) for member in members)
    top = consensus(
        [SparseLogProbs(member.ids[:length], member.log_probs[:length]) for member in members],
        spelled.tokens[:length],
        vocabulary_size=size,
        k=min(party.most_tokens, size),
        average=average,
        temperature=temperature,
        weights=weights,
    )
    return TokenScores(spelled.tokens[:length], spelled.offsets[:length], top)


def consensus_offer(party: Party, teacher: str, round: int, merged: Mapping[str, TokenScores]) -> Offer:
    """Return the `merged` scores of the gold texts, by sample, as a `teacher`'s offer in the party's vocabulary."""
    lessons = [lesson for lesson in gold_lessons(party, party.task.public) if lesson.sample_id in merged]
    paths = tuple(_path(party, lesson, merged[lesson.sample_id]) for lesson in lessons)
    return Offer(Knowledge(teacher, round, paths), merged, party.learner.vocabulary())


def _path(party: Party, lesson: Lesson, scores: TokenScores) -> Path:
    """Return a gold text with its likelihood under the consensus, `scores`."""
    log_probs, size = scores.own().astype(float), len(lesson.chosen.encode())
    likelihood = Likelihood(float(log_probs.sum()), float(log_probs.min()), len(log_probs), size)
    return Path(lesson.sample_id, party.name, lesson.chosen, party.task.extract(lesson.chosen), True, likelihood)
