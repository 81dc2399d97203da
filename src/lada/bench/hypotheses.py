"""Hypotheses that a suite's file states before its cells are run."""

from typing import Literal

from pydantic import Field, model_validator

from lada.bench.cell import digest_of
from lada.bench.layers import Track
from lada.core.registry import Options

Area = Literal["overall", "own", "other", "new", "mixed", "general"]
SideName = Literal["clients", "LLM"]


class Hypothesis(Options):
    """One claim about two rows. Its p-value is corrected for the number of hypotheses of the suite."""

    name: str = Field(min_length=1)
    """Its name on the page."""
    row: str
    """The row that the claim is about."""
    against: str
    """The row that it is compared with."""
    track: Track | None = None
    """The track; None: the only one that both rows have."""
    side: SideName = "clients"
    """The side: the mean of the clients, or the LLM."""
    area: Area = "overall"
    """The questions: all except general skill, a party's own domains, others, domains that are new to a client,
    questions over two domains, or general skill."""
    scenarios: tuple[str, ...] | None = None
    """The scenarios, with equal weight; None: all of the suite."""
    claim: Literal["better", "not worse"] = "better"
    """`better`: the difference is above 0. `not worse`: it is above minus `margin`."""
    margin: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    """How many points worse still counts as not worse."""

    @model_validator(mode="after")
    def _margin_of_not_worse(self) -> "Hypothesis":
        if (self.margin is None) != (self.claim == "better"):
            raise ValueError(
                f"{self.name!r} claims {self.claim!r} with margin {self.margin}; expected a margin, in points, with "
                "`not worse`, and none with `better`"
            )
        return self

    @property
    def bound(self) -> float:
        """The bound that the difference must exceed, percentage points."""
        return -(self.margin or 0.0)

    @property
    def digest(self) -> str:
        """Return a digest, to recognise whether a hypothesis was stated in this form before."""
        return digest_of(self.model_dump(mode="json"))
