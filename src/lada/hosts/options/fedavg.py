"""The options of the host `fedavg`; see lada.hosts.fedavg."""

from pydantic import field_validator, model_validator

from lada.aggregators.base import Aggregator
from lada.rounds.options import SecureOptions, registered


class FedavgOptions(SecureOptions):
    """Options of federated averaging. All clients have one model. The server's LLM is only evaluated, once."""

    form: str = "average"
    """Another way to select the aggregators `flexlora` (averages products) and `hetlora` (pads with zeros), which allow
    different ranks and alphas. `average` uses `aggregation`."""

    @field_validator("form")
    @classmethod
    def _takes_any_rank(cls, form: str) -> str:
        if form != "average" and not registered(form).made().any_rank:
            raise ValueError(
                f"{form!r} does not name a form of LoRA adapters; expected form: average, with aggregation: {form}"
            )
        return form

    @model_validator(mode="after")
    def _robust(self) -> "FedavgOptions":
        if self.form != "average" and self.aggregation != "mean":
            raise ValueError(
                f"aggregation is {self.aggregation!r} with form {self.form!r}, whose adapters share no coordinates; "
                "expected aggregation: mean, or form: average"
            )
        if self.form != "average" and self.secure_aggregation:
            raise ValueError(
                f"secure_aggregation is true with form {self.form!r}, which does not sum adapters; expected form: "
                "average"
            )
        return self

    @property
    def aggregator(self) -> tuple[str, Aggregator]:
        """See AveragingOptions.aggregator."""
        if self.form == "average":
            return super().aggregator
        return self.form, registered(self.form).made(malicious=self.malicious, clip=self.clip)
