"""How clients answer held-out public samples after a round: what an augmenter learns of its students."""

import json
from collections.abc import Mapping
from math import exp, isfinite, nan
from typing import Any

from lada.augmenters.base import Augmenter, Outcome
from lada.codecs import outcomes
from lada.core.seeds import generator
from lada.core.terms import Path, Sample
from lada.rounds.base import MessageSchema, Turn
from lada.rounds.party import Party
from lada.rounds.releasing import release
from lada.rounds.replies import each
from lada.rounds.steps import in_range, write_paths
from lada.rounds.wire import part, write

OUTCOMES = outcomes.KIND
OUTCOMES_ONLY = MessageSchema(frozenset({OUTCOMES}))
VALIDATE = "validate"
"""The phase in which a client answers them."""


def tried(party: Party, round: int, augmenter: Augmenter[Any]) -> tuple[Sample, ...]:
    """Return the samples that clients answer after a round: those held out, and some that are drawn for all clients."""
    public = party.task.public
    places = generator(party.seed, round, VALIDATE).permutation(len(public))[: augmenter.probed]
    return (*party.task.validation, *(public[place] for place in sorted(places)))


def send_outcomes(turn: Turn, augmenter: Augmenter[Any]) -> None:
    """Let a client answer those samples, and send its paths as far as its policies allow."""
    party, round = turn.party, turn.round
    paths = in_range(party, write_paths(party, tried(party, round, augmenter), round, VALIDATE, answered=True))
    released, _ = release(party, paths, "paths")
    turn.outbox[OUTCOMES] = write(party, OUTCOMES, released)


def collect_outcomes(turn: Turn) -> None:
    """Let the server remember what clients sent, until the next round."""

    def use(_client: str, reply: Mapping[str, bytes]) -> list[list[object]]:
        paths = part(turn.party, reply, OUTCOMES).knowledge.paths
        return [[path.sample_id, path.answer, path.right, _confidence(path)] for path in paths]

    turn.party.memory[OUTCOMES] = json.dumps(each(turn, turn.replies, use)).encode()


def outcomes_of(party: Party) -> dict[str, tuple[Outcome, ...]]:
    """Return what the server remembers, by client."""
    kept = json.loads(party.memory.get(OUTCOMES, b"{}"))
    return {
        client: tuple(Outcome(id, answer, right, nan if sure is None else sure) for id, answer, right, sure in rows)
        for client, rows in kept.items()
    }


def _confidence(path: Path) -> float | None:
    """Return exp(mean token log-prob), 0..1; None if it is unknown."""
    mean = path.likelihood.mean
    return exp(min(mean, 0.0)) if path.likelihood.known and isfinite(mean) else None
