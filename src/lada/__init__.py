"""LaDa: federated reasoning distillation between one server LLM and many different client SLMs.

`lada.run(config)` runs an experiment, `lada.demo()` runs the demo, and `lada.plan(config)` returns the plan of a run.
`lada.load(folder)` reads a finished run, and `lada.compare(runs)` compares several.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lada.experiment import demo, run
    from lada.planning.compose import plan
    from lada.report.interactive import compare, load

    __version__: str

__all__ = ["__version__", "compare", "demo", "load", "plan", "run"]

_HOMES = {
    "run": "lada.experiment",
    "demo": "lada.experiment",
    "plan": "lada.planning.compose",
    "load": "lada.report.interactive",
    "compare": "lada.report.interactive",
}


def __getattr__(name: str) -> Any:
    """Load the public API on first use: it imports torch and Flower, which `import lada` alone should not."""
    if name == "__version__":
        from lada.core.distribution import lada_version

        return lada_version()
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lada' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
