"""A party learns what several say together of the gold texts: a consensus, which is nobody's own."""

from lada.core.terms import Knowledge, Lesson, Likelihood, Path, TokenScores
from lada.hosts.allocating import allocate, embed_public
from lada.hosts.distilling import Replay, distil, lessons_of
from lada.hosts.knowledge import Offer
from lada.hosts.party import Party

CONSENSUS = "consensus"
"""What allocations call a teacher that is no party."""


def match(party: Party, round: int, offer: Offer, mine: Knowledge, replay: Replay) -> None:
    """Let a party learn the consensus on the samples that its allocator chooses."""
    allocation = allocate(party, round, offer.knowledge, mine, embed_public(party, round))
    lessons = lessons_of(party, allocation, offer, mine)
    distil(party, round, lessons, mine, replay=replay, teachers="the consensus")


def consensus_path(party: Party, lesson: Lesson, scores: TokenScores) -> Path:
    """Return a gold text with how likely the consensus, `scores`, finds it."""
    log_probs, size = scores.own().astype(float), len(lesson.chosen.encode())
    likelihood = Likelihood(float(log_probs.sum()), float(log_probs.min()), len(log_probs), size)
    return Path(lesson.sample_id, party.name, lesson.chosen, party.task.extract(lesson.chosen), True, likelihood)
