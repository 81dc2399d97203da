"""The host `feddf`; see lada.hosts.feddf."""

from lada.core.needs import needs
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host
from lada.rounds.options import SharedSlmOptions


@HOSTS.register(
    "feddf",
    options=SharedSlmOptions,
    paper="arXiv 2006.07242",
    status="our reading",
    needs=needs({Verb.ANSWER}, {Verb.ANSWER, Verb.JUDGE, Verb.LOG_PROBS, Verb.STUDY}),
    tags=("feature", "weights", "divergence", "averaging"),
)
def feddf(options: SharedSlmOptions) -> Host:
    """Clients share one SLM; the average of their adapters then learns the average of their predictions."""
    from lada.hosts.feddf import Feddf

    return Feddf(options)
