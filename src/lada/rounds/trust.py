"""What a client's word is worth to the others where no gold answer says who is right: its record, and not its claims.

Three rules, all ours.

**Claims.** How likely a client says that it finds its own path is worth nothing, for a liar says that it is certain.
The receiver's own judgement takes its place (`doubted`), which an allocator asks for anyway. A path that is longer than
the receiver's own counts as no longer, so that a loss per byte cannot be brought down by padding. A receiver finds few
paths likelier than its own; so it learns little that nobody but their writer knows. That is the price.

**Records of paths.** A client answers k of n questions as the reference does: the gold answer, or where there is none
the server's answer of the first round, which nobody has taught it. By chance, its answers dealt out among its questions
at random, there would be a share c of these; k / n - c is its excess. It teaches nothing in a round in which

    P( Binomial(n, c + max(m, 0) / 2) <= k ) < ALPHA,    m the lower median of the other clients' excesses

so who is half as good as the others, or cannot be told from that, keeps all. With one other client m is 0.

**Records of distributions.** Of gold texts that all score, a client contradicts one if its loss per token, in nats, is
more than twice the largest of the others'. It has no say where it contradicts more texts than a fair coin would with
the chance ALPHA. With fewer than two others nobody can tell.
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
"""How improbable a record has to be before it counts against a client."""
MOSTLY = 0.5
"""Share of the gold texts above which contradictions count against a client."""
FIRST = "first answers"
"""In the server's memory: what it answered before anybody taught it."""


def doubted(knowledge: Knowledge, judged: Mapping[str, Likelihood], own: Knowledge) -> Knowledge:
    """Return a client's knowledge with the receiver's judgement in the place of what its writer claims.

    `judged` and `own` are the receiver's, by sample. A question that the receiver itself has no answer to leaves it
    without a yardstick, so that its judgement is minus infinity. Paths that a gold answer can check are as they were.
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
    """Let a server remember what it answers in its first round."""
    party.memory.setdefault(FIRST, paths.encode(mine))


@dataclass(frozen=True, slots=True)
class Record:
    """How many of a client's `received` answers are the reference's, and which share would be by chance (0..1)."""

    agreed: int
    received: int
    chance: float

    @property
    def excess(self) -> float:
        """By how much the share that agreed is above chance."""
        return self.agreed / max(self.received, 1) - self.chance


def reference(party: Party) -> dict[str, Path]:
    """Return what clients' answers are held against, by sample. `keep_first` has to come before."""
    first = paths.decode(party.memory[FIRST], known_ids=None).by_id()
    gold = {sample.id: sample.answer for sample in party.task.public if sample.answer is not None}
    return {id: replace(path, answer=gold.get(id, path.answer)) for id, path in first.items()}


def record(party: Party, theirs: Knowledge, reference: Mapping[str, Path]) -> Record:
    """Return the record of a client by what it sends in a round."""
    received = [path for path in theirs.paths if path.sample_id in reference]
    known = [reference[path.sample_id] for path in received]
    agreed = sum(agreements(received, known, party.task.same))
    a, b = (Counter(path.answer for path in each if path.answer is not None) for each in (received, known))
    return Record(agreed, len(received), sum(a[answer] * b[answer] for answer in a) / max(len(received), 1) ** 2)


def without_paths(party: Party, round: int, allocation: Allocation, its: Record, least: float) -> Allocation:
    """Return what is left of the allocation of a client that is `untrusted`; a notice says why.

    The student's own paths are not limited. `least` is the share of agreement that would be half as good as others.
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
    """Return the clients whose records speak against them, each with the share that would be half as good as others.

    What others have above chance is their lower median, so that one hostile client of three, which may know all
    answers, cannot raise the measure. Of a single other one nobody knows whether it is honest: chance alone counts.
    """
    from scipy.special import bdtr  # here, since who only reads options does not need it

    against: dict[str, float] = {}
    excesses = sorted(record.excess for record in records.values())
    middle = (len(excesses) - 2) // 2
    for client, its in records.items():
        # Without the client's own excess, what stands behind it moves up by one place.
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

    The gold texts are the `lessons`, all there are, so that no liar can guess which count; the `clients` have them with
    soft targets. The party's own losses count beside
    those of the clients; notices say who is left out.
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
    """Return how unlikely somebody finds texts by what it `said` in the party's own tokens: nats per token, by sample.

    Of these tokens, and not of those that a sender names as the text's.
    """
    size, losses = len(party.learner.vocabulary().tokens), {}
    for id, each in said.items():
        length = min(len(each.ids), len(spelled[id].tokens))
        rows = SparseLogProbs(each.ids[:length], each.log_probs[:length])
        losses[id] = loss(rows, spelled[id].tokens[:length], size)
    return {id: each for id, each in losses.items() if not np.isnan(each)}


def contradicting(losses: Mapping[str, Mapping[str, float]], judge: str) -> dict[str, tuple[int, int]]:
    """Return the members that contradict gold texts, but for the one that judges, with how many of how many texts.

    `losses` are of each member by sample: nats per token (>= 0). Texts that fewer than three members score count for
    nobody.
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
    """Note who has no say, and why."""
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
    """Return the allocations by client, each with the first `shares` (0..1) of the client's paths only.

    The student's own paths are not limited. A notice gives the `reasons` of those that lost any.
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
    """Return how many of the teacher's paths an allocation has."""
    return sum(choice.source == "teacher" for choice in allocation.choices)
