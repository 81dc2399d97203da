"""The host `fedcot`; see lada.hosts.fedcot."""

from lada.core.needs import needs
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host
from lada.hosts.options.fedcot import FedcotOptions


@HOSTS.register(
    "fedcot",
    options=FedcotOptions,
    paper="arXiv 2406.12403",
    status="our reading",
    needs=needs({Verb.ANSWER, Verb.EXPLAIN}, {Verb.ANSWER, Verb.EXPLAIN, Verb.JUDGE, Verb.STUDY}),
    tags=("labels", "supervised"),
)
def fedcot(options: FedcotOptions) -> Host:
    """The LLM writes rationales for the public questions; each SLM learns them and, as a second task, the labels."""
    from lada.hosts.fedcot import Fedcot

    return Fedcot(options)
