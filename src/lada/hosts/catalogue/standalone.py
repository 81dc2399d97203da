"""The host `standalone`; see lada.hosts.standalone."""

from lada.core.needs import needs
from lada.core.registry import Options
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host


@HOSTS.register("standalone", needs=needs(student={Verb.ANSWER, Verb.STUDY}), tags=("supervised",))
def standalone(options: Options) -> Host:
    """Each client studies only its private data, for as many steps as a client that collaborates."""
    from lada.hosts.standalone import Standalone

    return Standalone(options)
