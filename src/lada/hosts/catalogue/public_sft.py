"""The host `public_sft`; see lada.hosts.public_sft."""

from lada.core.needs import needs
from lada.core.registry import Options
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host


class PublicSftOptions(Options):
    """Options of the study of labelled public data."""

    rationales: bool = True
    """Whether the gold rationales are studied, or the gold answers alone."""


@HOSTS.register(
    "public_sft",
    options=PublicSftOptions,
    needs=needs({Verb.ANSWER}, {Verb.ANSWER, Verb.STUDY}),
)
def public_sft(options: PublicSftOptions) -> Host:
    """Everybody studies the gold texts of the public samples, clients their private data before; nobody exchanges."""
    from lada.hosts.public_sft import PublicSft

    return PublicSft(options)
