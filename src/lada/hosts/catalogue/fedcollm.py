"""The host `fedcollm`; see lada.hosts.fedcollm."""

from lada.core.needs import needs
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host
from lada.hosts.options.fedcollm import FedcollmOptions


@HOSTS.register(
    "fedcollm",
    options=FedcollmOptions,
    paper="arXiv 2411.11707",
    status="our reading",
    needs=needs({Verb.ANSWER, Verb.JUDGE, Verb.LOG_PROBS}, {Verb.ANSWER, Verb.JUDGE, Verb.STUDY}),
    tags=("feature", "weights", "supervised", "divergence", "averaging"),
)
def fedcollm(options: FedcollmOptions) -> Host:
    """Clients share one SLM and average its adapters; at the server SLM and LLM then learn from each other."""
    from lada.hosts.fedcollm import Fedcollm

    return Fedcollm(options)
