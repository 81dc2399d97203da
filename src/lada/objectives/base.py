"""The registry of objectives; their contract is lada.models.objective.Objective."""

from lada.core.registry import Registry
from lada.models.objective import Objective

OBJECTIVES: Registry[Objective] = Registry("objective", "lada.objectives")
