"""LaDa: federated reasoning distillation between one server LLM and many different client SLMs.

`lada.run(config)` runs an experiment and returns its typed results; see lada.experiment.run. `lada.plan(config)` says
beforehand what it will be; see lada.planning.compose.plan.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lada.experiment import run
    from lada.planning.compose import plan

__all__ = ["plan", "run"]


def __getattr__(name: str) -> Any:
    """Load the public API on first use: it brings torch and Flower along, which `import lada` alone should not."""
    if name == "run":
        from lada.experiment import run

        return run
    if name == "plan":
        from lada.planning.compose import plan

        return plan
    raise AttributeError(f"module 'lada' has no attribute {name!r}")
