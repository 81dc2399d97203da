"""The host `fedmkt`; see lada.hosts.fedmkt."""

from lada.core.needs import Needs, needs
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host
from lada.hosts.options.fedmkt import FedmktOptions


def _needs(options: FedmktOptions) -> Needs:
    """Return what the round needs.

    A party that sends likelihoods of gold texts must be able to judge them. One that takes over must read and continue.
    """
    judges = {Verb.JUDGE} if options.knowledge == "labels" else set[Verb]()
    continues = set[Verb]() if options.take_over is None else {Verb.LOG_PROBS, Verb.CONTINUE}
    return needs({Verb.ANSWER, *judges, *continues}, {Verb.ANSWER, Verb.JUDGE, Verb.STUDY})


@HOSTS.register(
    "fedmkt",
    options=FedmktOptions,
    paper="arXiv 2406.02224",
    status="our reading",
    needs=_needs,
    tags=("labels", "feature", "feedback", "supervised", "divergence"),
)
def fedmkt(options: FedmktOptions) -> Host:
    """LLM and SLMs learn from each other on public questions, both ways."""
    from lada.hosts.fedmkt import Fedmkt

    return Fedmkt(options)
