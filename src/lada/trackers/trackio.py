"""Trackio: a local dashboard, or one in a Space of the Hugging Face Hub."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lada.core.registry import Options
from lada.trackers.base import TRACKERS, Status, require


class TrackioOptions(Options):
    """Options of trackio."""

    project: str = "lada"
    """The project in which runs are listed."""
    space_id: str | None = None
    """A Space such as `name/space`. None: this machine, unless trackio's own environment variables say otherwise."""


@TRACKERS.register("trackio", options=TrackioOptions)
class Trackio:
    """A dashboard on this machine (`trackio show`) or in a Space."""

    def __init__(self, options: TrackioOptions) -> None:
        self.options = options
        self._trackio = require("trackio")

    def start(self, name: str, config: Mapping[str, Any], folder: Path) -> None:
        """See Tracker.start."""
        self._run = self._trackio.init(
            project=self.options.project,
            name=name,
            space_id=self.options.space_id,
            config=dict(config),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See Tracker.log."""
        self._run.log(dict(metrics), step=step)

    def finish(self, status: Status) -> None:
        """See Tracker.finish. Trackio cannot store how a run ended."""
        self._trackio.finish()  # unlike the run's own finish, this one is not repeated when the process ends

    def view(self) -> str:
        """See Viewable.view."""
        if self.options.space_id is not None:
            return f"https://huggingface.co/spaces/{self.options.space_id}"
        return f"trackio show --project {shlex.quote(self.options.project)}"
