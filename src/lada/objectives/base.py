"""The registry of objectives; their contract is lada.models.objective.Objective."""

from lada.core.needs import SignalSpec
from lada.core.registry import Registry
from lada.models.objective import Objective, Prefer, Unpaired

OBJECTIVES: Registry[Objective] = Registry("objective", "lada.objectives")


class AsAllocated:
    """Base of objectives that learn the path that was allocated and contrast it with none."""

    contrasts = False
    reference = False
    soft: SignalSpec | None = None
    prefer: Prefer | None = None
    unpaired: Unpaired = "nll"
