"""The host `fedmd`; see lada.hosts.fedmd."""

from lada.core.needs import needs
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host
from lada.hosts.options.fedmd import FedmdOptions


@HOSTS.register(
    "fedmd",
    options=FedmdOptions,
    paper="arXiv 1910.03581",
    status="our reading",
    needs=needs({Verb.JUDGE, Verb.LOG_PROBS}, {Verb.ANSWER, Verb.JUDGE, Verb.STUDY}),
    tags=("feature", "divergence", "supervised"),
)
def fedmd(options: FedmdOptions) -> Host:
    """All parties score the gold texts, the server averages the distributions, and all learn the average."""
    from lada.hosts.fedmd import Fedmd

    return Fedmd(options)
