"""The host `centralized`; see lada.hosts.centralized."""

from lada.core.needs import needs
from lada.core.registry import Options
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host


@HOSTS.register(
    "centralized", needs=needs({Verb.ANSWER}, {Verb.ANSWER, Verb.STUDY}, pools_private=True), tags=("supervised",)
)
def centralized(options: Options) -> Host:
    """All private data in one place, where every model studies it: an upper bound, not a federation."""
    from lada.hosts.centralized import Centralized

    return Centralized(options)
