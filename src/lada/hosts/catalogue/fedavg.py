"""The host `fedavg`; see lada.hosts.fedavg."""

from lada.core.needs import needs
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host
from lada.hosts.options.fedavg import FedavgOptions


@HOSTS.register(
    "fedavg",
    options=FedavgOptions,
    paper="arXiv 2305.05644",
    status="our reading",
    needs=needs({Verb.ANSWER}, {Verb.ANSWER, Verb.STUDY}),
    tags=("weights", "supervised", "averaging"),
)
def fedavg(options: FedavgOptions) -> Host:
    """Clients with one model study their private data and continue with the average of their adapters."""
    from lada.hosts.fedavg import Fedavg

    return Fedavg(options)
