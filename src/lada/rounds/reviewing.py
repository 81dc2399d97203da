"""A server gathers the evidence of peer review from its clients, and may pass it on to each of them.

The server sees all parties' answers, and the LLM's log-prob of each path. A client's log-probs of the LLM's
paths are there if an objective asks for them. A client alone has only two answers and its own log-probs, and the LLM's
log-probs of its path if its objective asks for these. With the host's `share_votes`, the server tells it who else gave
which answer, by numbers, and how likely it finds each path (lada.codecs.reviews).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lada.allocators.base import Candidates
from lada.allocators.pairs import of_pair
from lada.allocators.reviews import NOTHING, Reviews, numbered, per_byte
from lada.codecs.judgements import sent_paths
from lada.codecs.reviews import KIND, LEAST, Ballot
from lada.core.terms import Knowledge, Likelihood
from lada.rounds.base import Payload
from lada.rounds.knowledge import Offer, total_of
from lada.rounds.party import Party
from lada.rounds.wire import reading, write

BALLOT = KIND


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A client's answers by sample, and log-probs, nats per byte: the server's of the client's paths (`judged`), and
    the client's of its own (`claimed`) and of the server's (`judges`)."""

    answers: Mapping[str, str | None]
    judged: Mapping[str, float]
    claimed: Mapping[str, float]
    judges: Mapping[str, float]


NO_VOTE = Reviewed({}, {}, {}, {})
"""Of a client that is not trusted: its answers count for nobody, as if it had given none."""


def reviewed(
    party: Party, offer: Offer, judged: Mapping[str, Likelihood], mine: Knowledge, *, trusted: bool
) -> Reviewed:
    """Return what a server learns from a client's offer. Claims about its own paths count only if it is `trusted`."""
    paths = offer.knowledge.paths
    return Reviewed(
        {path.sample_id: path.answer for path in paths},
        {id: per_byte(each) for id, each in judged.items()},
        {path.sample_id: per_byte(path.likelihood) for path in paths} if trusted else {},
        judged_by(party, offer, mine),
    )


def judged_by(party: Party, offer: Offer, mine: Knowledge) -> dict[str, float]:
    """Return the sender's log-probs of the party's own paths, nats per byte, where these are still the same.

    Paths that it read only in part are left out.
    """
    sent, own = sent_paths(party.memory), mine.by_id()
    texts = {} if sent is None else sent.by_id()
    same = [id for id in offer.judgements if id in texts and id in own and texts[id].text == own[id].text]
    totals = {id: total_of(offer.judgements[id], own[id].text) for id in same}
    return {id: total / max(len(own[id].text.encode()), 1) for id, total in totals.items() if total is not None}


def gathered(party: Party, mine: Knowledge, clients: Mapping[str, Reviewed]) -> Reviews:
    """Return the evidence on all public samples, in their order; the server is the first party, then its clients."""
    names, own = (party.name, *sorted(clients)), mine.by_id()
    ids = [sample.id for sample in party.task.public]
    told = {name: {id: path.answer for id, path in own.items()} for name in names[:1]}
    told |= {name: dict(clients[name].answers) for name in names[1:]}
    answers = [numbered([told[name].get(id) for name in names], party.task.same) for id in ids]

    def column(values: Mapping[str, float]) -> np.ndarray:
        return np.array([values.get(id, np.nan) for id in ids], dtype=np.float64)

    log_probs = {(0, 0): column({id: per_byte(path.likelihood) for id, path in own.items()})}
    for place, name in enumerate(names[1:], start=1):
        log_probs[0, place] = column(clients[name].judged)
        log_probs[place, place] = column(clients[name].claimed)
        log_probs[place, 0] = column(clients[name].judges)
    return Reviews(names, np.array(answers, np.int64).reshape(-1, len(names)), log_probs)


def of_all(party: Party, every: Reviews) -> Callable[[Candidates], Reviews]:
    """Return how a server restricts the evidence on all public samples to the candidates of a pair."""
    rows = {sample.id: row for row, sample in enumerate(party.task.public)}

    def reviews(candidates: Candidates) -> Reviews:
        return every.of((candidates.teacher, candidates.student), [rows[sample.id] for sample in candidates.samples])

    return reviews


def ballot_for(party: Party, client: str, every: Reviews, round: int) -> dict[str, bytes]:
    """Return as a message part what a server tells a client about all parties' answers."""
    ids = tuple(sample.id for sample in party.task.public)
    told = every.of((party.name, client), range(len(ids)))
    log_probs = np.stack([told.log_probs[0, place] for place in range(len(told.parties))], 1)
    known = (log_probs >= LEAST) & (log_probs <= 0)
    ballot = Ballot(party.name, round, ids, told.answers, np.where(known, log_probs, np.nan))
    return {BALLOT: write(party, BALLOT, ballot)}


def with_ballot(party: Party, payload: Payload, offer: Offer) -> Offer:
    """Return an offer with what its sender tells about all parties' answers, if it does.

    Raises CodecError or FederationError for content that no honest party sends.
    """
    if BALLOT not in payload:
        return offer
    return replace(offer, ballot=reading(party, payload, offer.knowledge.party, offer.knowledge.round).part(BALLOT))


def of_offer(party: Party, offer: Offer, mine: Knowledge) -> Callable[[Candidates], Reviews]:
    """Return how a client combines what it knows of the pair with what the server told it."""
    judged = judged_by(party, offer, mine)

    def reviews(candidates: Candidates) -> Reviews:
        pair = of_pair(candidates)
        own = np.array([judged.get(sample.id, np.nan) for sample in candidates.samples], dtype=np.float64)
        if offer.ballot is None:
            return Reviews(pair.parties, pair.answers, {**pair.log_probs, (0, 1): own})
        return _with_ballot(candidates, pair, offer.ballot)

    return reviews


def _with_ballot(candidates: Candidates, pair: Reviews, ballot: Ballot) -> Reviews:
    """Return a pair's evidence with that of a ballot. Its rows are those of the candidates.

    The student's own answer stays in if the server never received it.
    """
    rows = {id: row for row, id in enumerate(ballot.ids)}
    n, parties = len(candidates.samples), ballot.answers.shape[1]
    answers, log_probs = np.full((n, parties), NOTHING), np.full((n, parties), np.nan)
    answers[:, :2] = pair.answers
    for i, sample in enumerate(candidates.samples):
        if (row := rows.get(sample.id)) is None:
            continue
        answers[i], log_probs[i] = ballot.answers[row], ballot.log_probs[row]
        if answers[i, 1] == NOTHING and pair.answers[i, 1] != NOTHING:
            unused = min(set(range(parties)) - set(answers[i].tolist()))
            answers[i, 1] = answers[i, 0] if candidates.agree[i] else unused
    names = (*pair.parties, *(f"party {place}" for place in range(2, parties)))
    told = {(0, place): log_probs[:, place] for place in range(1, parties)}
    return Reviews(names, answers, {**pair.log_probs, **told})
