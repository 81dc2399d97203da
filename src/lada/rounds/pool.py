"""A party's pool of generated public samples. It lies in the party's memory, and its task has the samples."""

import logging

from lada.codecs import generated
from lada.codecs.generated import Pool, with_origin
from lada.core.errors import FederationError, InputError
from lada.core.terms import Sample
from lada.rounds.base import MessageSchema, Turn
from lada.rounds.party import Party
from lada.rounds.wire import part, write
from lada.tasks.drafts import PREFIX, normal, normals

GENERATED = generated.KIND
POOL = MessageSchema(optional=frozenset({GENERATED}))
"""What the server adds to the first message of a round, once there is something in the pool."""
LOG = logging.getLogger(__name__)


def restore_pool(party: Party) -> None:
    """Give a party's task the generated samples that its memory has."""
    if GENERATED in party.memory:
        party.task = party.task.with_generated(generated.decode(party.memory[GENERATED], limit=None).samples)


def grow(party: Party, round: int, samples: tuple[Sample, ...]) -> None:
    """Add generated samples to a party's pool."""
    whole = (*with_origin(party.task.public), *samples)
    if whole:
        party.memory[GENERATED] = generated.encode(Pool(party.name, round, whole))
        restore_pool(party)


def pool_part(party: Party, round: int) -> dict[str, bytes]:
    """Return the message part with the whole pool, so that a client which missed a round catches up; none if empty."""
    whole = with_origin(party.task.public)
    return {GENERATED: write(party, GENERATED, Pool(party.name, round, whole))} if whole else {}


def take_pool(turn: Turn, most: int) -> None:
    """Let a client continue with the server's pool, of at most `most` samples.

    Raises FederationError for more, or for a pool that does not begin with the one it had.
    """
    if GENERATED not in turn.received:
        return
    party = turn.party
    pool: Pool = part(party, turn.received, GENERATED)
    before = with_origin(party.task.public)
    if len(pool.samples) > most:
        raise FederationError(f"{GENERATED}: more samples than augmenter.options.most, {most}")
    if pool.samples[: len(before)] != before:
        raise FederationError(f"{GENERATED}: the pool does not begin with the samples of the rounds before")
    check_private_ids(party)
    _count_twins(party, pool.samples[len(before) :])
    party.memory[GENERATED] = generated.encode(pool)
    restore_pool(party)


def check_private_ids(party: Party) -> None:
    """Raise InputError if a private sample has an id that only generated samples may have."""
    if any(sample.id.startswith(PREFIX) for sample in party.private):
        raise InputError(f"task: a private sample of {party.name!r} has an id that begins with {PREFIX!r}; rename it")


def _count_twins(party: Party, samples: tuple[Sample, ...]) -> None:
    """Log how many new questions are also private ones. Only the client's own log says so, and nothing else changes:
    a client that left a question out would tell the server that it has it."""
    private = normals(party.private)
    if count := sum(normal(sample.question) in private for sample in samples):
        LOG.warning("%s of %s new public questions are also private ones of this client", count, len(samples))
