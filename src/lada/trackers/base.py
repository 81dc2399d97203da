"""The contract of a tracker, and the registry of trackers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from lada.core import extras
from lada.core.registry import Registry

Status = Literal["finished", "failed", "stopped"]
"""How a run ended: with its last round, with an error, or by Ctrl-C or SIGTERM."""


class Tracker(Protocol):
    """Receives the figures of one run. It is created before training starts, and refuses then what it cannot do.

    An error that a method raises during the run switches the tracker off and never ends the run (see Feed).
    """

    def start(self, name: str, config: Mapping[str, Any], folder: Path) -> None:
        """Open the run `name`. `config` is the resolved configuration as plain data, `folder` the run's folder."""
        ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Receive figures by name for round `step`. Some may be NaN or infinite, such as the loss of a broken study."""
        ...

    def finish(self, status: Status) -> None:
        """Send or write whatever is left, then close the run."""
        ...


@runtime_checkable
class Viewable(Protocol):
    """A tracker that can tell the user how to view its run. Optional."""

    def view(self) -> str:
        """Return a command to run, or an address to open. Called after the run is closed."""
        ...


TRACKERS: Registry[Tracker] = Registry("tracker", "lada.trackers", tags=("records",))


def require(tracker: str, module: str = "") -> Any:
    """Import and return what a tracker needs; package and extra have its name.

    Raises InputError with the install command if that fails.
    """
    return extras.require(tracker, f"trackers: {tracker!r}", tracker, module=module)
