"""TensorBoard: event files on disk, for `tensorboard --logdir runs`."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lada.core.registry import Options
from lada.trackers.base import TRACKERS, Status, require


class TensorboardOptions(Options):
    """Options of TensorBoard."""

    folder: str | None = None
    """The folder in which each run gets a folder of its own name. Relative paths start at the run's folder. None:
    `tensorboard` in the run's folder."""


@TRACKERS.register("tensorboard", options=TensorboardOptions)
class Tensorboard:
    """Event files on this machine."""

    def __init__(self, options: TensorboardOptions) -> None:
        self.options = options
        self._module = require("tensorboard", "torch.utils.tensorboard")

    def start(self, name: str, config: Mapping[str, Any], folder: Path) -> None:
        """See Tracker.start. Event files of an earlier writer are hidden: a replay replaces them."""
        place = folder / "tensorboard" if self.options.folder is None else folder / self.options.folder / name
        self._place = place
        self._writer = self._module.SummaryWriter(str(place), purge_step=0)
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        self._writer.add_text("configuration", "\n".join(f"    {line}" for line in text.splitlines()), 0)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See Tracker.log."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self, status: Status) -> None:
        """See Tracker.finish."""
        self._writer.close()

    def view(self) -> str:
        """See Viewable.view."""
        return f"tensorboard --logdir {shlex.quote(str(self._place))}"
