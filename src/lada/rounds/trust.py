"""How far to trust clients if no gold answer says who is right: by their record, not by their claims.

Three rules, all ours.

**Claims.** A client's claimed likelihood of its own path counts for nothing, since a liar claims certainty. The
receiver's own judgement replaces it (`doubted`), which an allocator needs anyway. A path longer than the receiver's own
counts as equally long, so that padding cannot lower a loss per byte. A receiver finds few paths likelier than its own,
so it learns little that only their writer knows. That is the price.

**Records of paths.** A client answers k of n questions as the reference does. The reference is the gold answer or,
without one, the server's answer in the first round, before any training. If its answers were distributed over its
questions at random, a share c of them would agree by chance; k / n - c is its excess. It teaches nothing in a round in
which

    P( Binomial(n, c + max(m, 0) / 2) <= k ) < ALPHA,    m the lower median of the other clients' excesses

so a client at least half as good as the others, or not distinguishable from that, keeps all its paths. With one other
client, m is 0.

**Records of distributions.** A client contradicts a gold text that all score if its loss per token, in nats, is more
than twice the largest of the others'. It is excluded if it contradicts more texts than a fair coin would with
probability ALPHA. With fewer than two others this cannot be decided.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest

import numpy as np

from lada.codecs import paths
from lada.core.plural import counted
from lada.core.terms import Allocation, Knowledge, Lesson, Likelihood, Path, SparseLogProbs, TokenizedText
from lada.evaluation.agreement import agreements
from lada.rounds.consensus import loss
from lada.rounds.party import Party

ALPHA = 0.01
"""Maximum probability of a record under the null for it to count against a client."""
MOSTLY = 0.5
"""Share of the gold texts above which contradictions count against a client."""
FIRST = "first answers"
"""In the server's memory: its answers before any training."""


def doubted(knowledge: Knowledge, judged: Mapping[str, Likelihood], own: Knowledge) -> Knowledge:
    """Return a client's knowledge with the receiver's judgement instead of the writer's claims.

    `judged` and `own` are the receiver's, by sample. If the receiver has no answer of its own, it has no yardstick, and
    its judgement is minus infinity. Paths that a gold answer can check stay as they are.
    """
    mine = own.by_id()
    received = tuple(
        replace(path, likelihood=_judgement(judged[path.sample_id], mine[path.sample_id]))
        if path.right is None and path.sample_id in judged
        else path
        for path in knowledge.paths
    )
    return replace(knowledge, paths=received)


def _judgement(judged: Likelihood, own: Path) -> Likelihood:
    if own.answer is None:
        return replace(judged, total=-np.inf, minimum=-np.inf)
    return replace(judged, size=min(judged.size, own.likelihood.size))


def keep_first(party: Party, mine: Knowledge) -> None:
    """Let a server remember its answers in its first round."""
    party.memory.setdefault(FIRST, paths.encode(mine))


@dataclass(frozen=True, slots=True)
class Record:
    """How many of a client's `received` answers agree with the reference, and which share would by chance (0..1)."""

    agreed: int
    received: int
    chance: float

    @property
    def excess(self) -> float:
        """How far the share of agreement exceeds chance."""
        return self.agreed / max(self.received, 1) - self.chance


def reference(party: Party) -> dict[str, Path]:
    """Return the reference for clients' answers, by sample. Call `keep_first` before."""
    first = paths.decode(party.memory[FIRST], known_ids=None).by_id()
    gold = {sample.id: sample.answer for sample in party.task.public if sample.answer is not None}
    return {id: replace(path, answer=gold.get(id, path.answer)) for id, path in first.items()}


def record(party: Party, theirs: Knowledge, reference: Mapping[str, Path]) -> Record:
    """Return a client's record from what it sends in a round."""
    received = [path for path in theirs.paths if path.sample_id in reference]
    known = [reference[path.sample_id] for path in received]
    agreed = sum(agreements(received, known, party.task.same))
    a, b = (Counter(path.answer for path in each if path.answer is not None) for each in (received, known))
    return Record(agreed, len(received), sum(a[answer] * b[answer] for answer in a) / max(len(received), 1) ** 2)


def without_paths(party: Party, round: int, allocation: Allocation, its: Record, least: float) -> Allocation:
    """Return the allocation of an `untrusted` client without its paths; a notice says why.

    The student's own paths are not limited. `least` is the share of agreement of a client half as good as the others.
    """
    client = allocation.teacher
    party.note(
        notices=(
            f"round {round}: {party.name} learns none of the {counted(taught(allocation), 'chosen path')} of "
            f"{client}: {its.agreed} of its {counted(its.received, 'answer')} match the gold ones, or those of "
            f"{party.name} before any training; a client half as good as the others would match "
            f"{least * its.received:.1f}",
        )
    )
    return _limit(allocation, 0.0)


def untrusted(records: Mapping[str, Record]) -> dict[str, float]:
    """Return the clients whose records speak against them, each with the share of a client half as good as the others.

    The others' excess over chance is their lower median, so that one hostile client of three, which may know all
    answers, cannot raise the bar. With a single other client, whose honesty is unknown, only chance counts.
    """
    from scipy.special import bdtr  # here, since reading options does not need it

    against: dict[str, float] = {}
    excesses = sorted(record.excess for record in records.values())
    middle = (len(excesses) - 2) // 2
    for client, its in records.items():
        # Without the client's own excess, all later ones move up by one place.
        usual = excesses[middle + (bisect_left(excesses, its.excess) <= middle)] if len(excesses) > 2 else 0.0
        least = its.chance + max(usual, 0.0) / 2
        if bdtr(its.agreed, its.received, min(least, 1.0)) < ALPHA:
            against[client] = least
    return against


def limit_by_gold_texts(
    party: Party,
    allocations: Mapping[str, Allocation],
    lessons: Sequence[Lesson],
    clients: Mapping[str, Sequence[Lesson]],
    mine: Knowledge,
    round: int,
) -> dict[str, Allocation]:
    """Return the allocations by client, without the soft targets of those that contradict the gold texts.

    The `lessons` are all gold texts, so that a liar cannot guess which ones count; the `clients` have them with soft
    targets. The party's own losses count in addition to those of the clients. Notices name those left out.
    """
    texts = party.learner.tokenize([lesson.chosen for lesson in lessons])
    spelled = {x.sample_id: text for x, text in zip(lessons, texts, strict=True) if text is not None}
    own = mine.by_id()
    losses = {party.name: {id: -own[id].likelihood.mean for id in spelled if id in own}}
    for client in sorted(clients):
        received = {x.sample_id: x.soft for x in clients[client] if x.soft is not None}
        losses[client] = text_losses(party, received, spelled)
    against = contradicting(losses, judge=party.name)
    note_contradicting(party, round, against)
    return {client: _limit(each, float(client not in against)) for client, each in allocations.items()}


def text_losses(
    party: Party, said: Mapping[str, SparseLogProbs], spelled: Mapping[str, TokenizedText]
) -> dict[str, float]:
    """Return the losses of texts according to `said`, in the party's own tokens: nats per token, by sample.

    They are of these tokens, not of those that the sender names as the text's.
    """
    size, losses = len(party.learner.vocabulary().tokens), {}
    for id, each in said.items():
        length = min(len(each.ids), len(spelled[id].tokens))
        rows = SparseLogProbs(each.ids[:length], each.log_probs[:length])
        losses[id] = loss(rows, spelled[id].tokens[:length], size)
    return {id: each for id, each in losses.items() if not np.isnan(each)}


def contradicting(losses: Mapping[str, Mapping[str, float]], judge: str) -> dict[str, tuple[int, int]]:
    """Return the members, other than the judge, that contradict gold texts, with how many of how many texts.

    `losses` are each member's by sample: nats per token (>= 0). Texts with fewer than three scorers do not count.
    """
    from scipy.special import bdtrc

    against: dict[str, tuple[int, int]] = {}
    scorers = Counter(id for its in losses.values() for id in its)
    largest: dict[str, list[float]] = {}  # the two largest of each text, of which one may be a member's own
    for its in losses.values():
        for id, each in its.items():
            largest[id] = nlargest(2, [*largest.get(id, ()), each])
    for member in losses.keys() - {judge}:
        count, texts = 0, 0
        for id, its in losses[member].items():
            if scorers[id] > 2:
                first, second = largest[id]
                texts += 1
                count += its > 2 * (second if its == first else first)
        if texts and bdtrc(count - 1, texts, MOSTLY) < ALPHA:
            against[member] = (count, texts)
    return dict(sorted(against.items()))


def note_contradicting(party: Party, round: int, against: Mapping[str, tuple[int, int]]) -> None:
    """Record who is excluded, and why."""
    party.note(
        notices=tuple(
            f"round {round}: the distributions of {client} are left out: on {count} of "
            f"{counted(texts, 'gold text')} its loss per "
            "token is more than twice the largest of the others'"
            for client, (count, texts) in against.items()
        )
    )


def limit(
    party: Party,
    round: int,
    allocations: Mapping[str, Allocation],
    shares: Mapping[str, float],
    reasons: Mapping[str, str],
) -> dict[str, Allocation]:
    """Return the allocations by client, each with only the first `shares` (0..1) of the client's paths.

    The student's own paths are not limited. A notice gives the `reasons` for those that lost any.
    """
    limited = {client: _limit(each, shares[client]) for client, each in allocations.items()}
    for client in sorted(limited):
        lost = taught(allocations[client]) - taught(limited[client])
        if lost:
            party.note(
                notices=(
                    f"round {round}: {lost} of {counted(taught(allocations[client]), 'chosen path')} of {client} "
                    f"are left out, "
                    f"since {reasons[client]}",
                )
            )
    return limited


def _limit(allocation: Allocation, share: float) -> Allocation:
    left = round(share * taught(allocation))
    kept = []
    for choice in allocation.choices:
        if choice.source == "teacher":
            left -= 1
            if left < 0:
                continue
        kept.append(choice)
    return replace(allocation, choices=tuple(kept))


def taught(allocation: Allocation) -> int:
    """Return the number of the teacher's paths in an allocation."""
    return sum(choice.source == "teacher" for choice in allocation.choices)
