"""What a suite's file claims before its cells are run, and what the cells say of it."""

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
    """What the page calls it."""
    row: str
    """Of which row it is."""
    against: str
    """What that row is compared with."""
    track: Track | None = None
    """On which track; None: the only one that both rows have."""
    side: SideName = "clients"
    """Who is meant: the mean of the clients, or the LLM."""
    area: Area = "overall"
    """Which questions: all but those of general skill, those of a party's own domains, of others, of domains that are
    new to a client, those over two domains, or general skill."""
    scenarios: tuple[str, ...] | None = None
    """In which scenarios, which count alike; None: in all of the suite."""
    claim: Literal["better", "not worse"] = "better"
    """`better`: the difference lies above 0. `not worse`: it lies above minus `margin`."""
    margin: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    """How many points worse is still not worse."""

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
        """What the difference has to lie above, points."""
        return -(self.margin or 0.0)

    @property
    def digest(self) -> str:
        """Return what tells whether a hypothesis was written as it stands."""
        return digest_of(self.model_dump(mode="json"))
