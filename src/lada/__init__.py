"""LaDa: federated reasoning distillation between one server LLM and many different client SLMs.

`lada.run(config)` runs an experiment and returns its typed results; see lada.experiment.run.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lada.experiment import run

__all__ = ["run"]


def __getattr__(name: str) -> Any:
    """Load the public API on first use: it brings torch and Flower along, which `import lada` alone should not."""
    if name == "run":
        from lada.experiment import run

        return run
    raise AttributeError(f"module 'lada' has no attribute {name!r}")
