"""The host `fedavg`; see lada.hosts.fedavg."""

from typing import Literal

from pydantic import model_validator

from lada.core.needs import needs
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host
from lada.rounds.options import SecureOptions


class FedavgOptions(SecureOptions):
    """Options of federated averaging. Clients have one model; the server's LLM is evaluated once and takes no part."""

    form: Literal["average", "flexlora", "hetlora"] = "average"
    """How adapters become one: factor by factor (`average`, also for `tune: full`), as products (`flexlora`), or padded
    (`hetlora`); with the last two, ranks and alphas may differ."""

    @model_validator(mode="after")
    def _robust(self) -> "FedavgOptions":
        if self.form != "average" and self.aggregation != "mean":
            raise ValueError(
                f"aggregation is {self.aggregation!r} with form {self.form!r}, whose adapters have no coordinates in "
                "common; expected aggregation: mean, or form: average"
            )
        if self.form != "average" and self.secure_aggregation:
            raise ValueError(
                f"secure_aggregation is true with form {self.form!r}, whose adapters are no sum; expected form: average"
            )
        return self


@HOSTS.register(
    "fedavg",
    options=FedavgOptions,
    paper="arXiv 2305.05644",
    status="our reading",
    needs=needs({Verb.ANSWER}, {Verb.ANSWER, Verb.STUDY}),
)
def fedavg(options: FedavgOptions) -> Host:
    """Clients with one model study their private data and go on with the average of their adapters."""
    from lada.hosts.fedavg import Fedavg

    return Fedavg(options)
