"""The membership-inference audit of a client whose run is over, from its last checkpoint."""

from typing import Any

from lada.config import RunConfig
from lada.core.results import Membership
from lada.federation.parties import Place, client_party, read_task
from lada.rounds.membership import memberships


def audit_memberships(config: RunConfig, place: Place, name: str) -> tuple[Membership, ...]:
    """Return how well a client's model tells its private samples from others; see lada.rounds.membership.

    Raises InputError where its data or model are not on this machine, LadaError where its checkpoint is not whole.
    """

    def silent(event: dict[str, Any]) -> None:
        """Tell nobody."""

    party = client_party(config, place, read_task(config, place.base), silent, name)
    return memberships(party, party.untrained(), config.rounds)
