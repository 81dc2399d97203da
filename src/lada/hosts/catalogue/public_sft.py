"""The host `public_sft`; see lada.hosts.public_sft."""

from lada.core.needs import needs
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host
from lada.hosts.options.public_sft import PublicSftOptions


@HOSTS.register(
    "public_sft",
    options=PublicSftOptions,
    needs=needs({Verb.ANSWER}, {Verb.ANSWER, Verb.STUDY}),
    tags=("labels", "supervised"),
)
def public_sft(options: PublicSftOptions) -> Host:
    """All parties study the gold texts of the public samples, clients after their private data, without exchange."""
    from lada.hosts.public_sft import PublicSft

    return PublicSft(options)
