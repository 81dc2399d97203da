"""Uses the clients' replies one by one at the server. Unusable content costs its sender the round, but does not end the
run."""

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from lada.core.errors import LadaError
from lada.rounds.base import Turn

S = TypeVar("S")
T = TypeVar("T")
LOG = logging.getLogger(__name__)


def each(turn: Turn, received: Mapping[str, S], use: Callable[[str, S], T]) -> dict[str, T]:
    """Return the results of `use` for what each client sent in the latest phase, by name, sorted.

    If `use` fails, the client is left out of the rest of the round and counts as missing; a notice says why. Raises
    FederationError if too few remain for a quorum.
    """
    party, phase, round = turn.party, turn.phase, turn.round
    made: dict[str, T] = {}
    faults: dict[str, str] = {}
    for client in sorted(received):
        try:
            made[client] = use(client, received[client])
        except Exception as error:  # a check cannot foresee how every library reacts to hostile content
            LOG.warning("round %s, phase %s: the reply of %s cannot be used", round, phase, client, exc_info=True)
            # The texts of other errors may repeat what was sent.
            faults[client] = str(error) if isinstance(error, LadaError) else f"using it failed: {type(error).__name__}"
    if faults:
        notices = tuple(f"round {round}: {client} is left out, {why}" for client, why in faults.items())
        party.note(notices=notices)
        turn.exchange.drop(phase, round, faults)
    return made
