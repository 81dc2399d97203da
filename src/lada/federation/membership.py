"""Audits a client by membership inference after its run, from its last checkpoint."""

from typing import Any

from lada.config import RunConfig
from lada.core.results import Membership
from lada.federation.parties import Place, client_party, read_task
from lada.rounds.membership import memberships


def audit_memberships(config: RunConfig, place: Place, name: str) -> tuple[Membership, ...]:
    """Return how well a client's private samples can be distinguished from others by its model; see
    lada.rounds.membership.

    Raises InputError if its data or model are not on this machine, LadaError if its checkpoint is invalid.
    """

    def silent(event: dict[str, Any]) -> None:
        """Report nothing."""

    party = client_party(config, place, read_task(config, place.base), silent, name)
    return memberships(party, party.untrained(), config.rounds)
