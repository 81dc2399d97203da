"""The contract of a tracker, and the registry in which trackers enter themselves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from lada.core import extras
from lada.core.registry import Registry

Status = Literal["finished", "failed", "stopped"]
"""How a run ended: with its last round, with an error, or by Ctrl-C or SIGTERM."""


class Tracker(Protocol):
    """Takes the figures of one run. It is made before anything is trained and refuses there what it cannot do.

    What the methods raise while the run goes on switches the tracker off and never ends the run (see Feed).
    """

    def start(self, name: str, config: Mapping[str, Any], folder: Path) -> None:
        """Open the run `name`. `config` is the resolved configuration as plain data, `folder` the run's folder."""
        ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take figures by name for round `step`. Some may be NaN or infinite, as the loss of a broken study is."""
        ...

    def finish(self, status: Status) -> None:
        """Close the run, with all that is still to be sent or written."""
        ...


@runtime_checkable
class Viewable(Protocol):
    """A tracker that can say how to look at the run it was given. A tracker need not be one."""

    def view(self) -> str:
        """Return a command to run, or an address to open. It is asked once the run is closed."""
        ...


TRACKERS: Registry[Tracker] = Registry("tracker", "lada.trackers")


def require(tracker: str, module: str = "") -> Any:
    """Import and return what a tracker needs: the package, and the extra, of its name.

    Raises InputError with the install line where that fails.
    """
    return extras.require(tracker, f"trackers: {tracker!r}", tracker, module=module)
