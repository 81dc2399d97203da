"""Weights & Biases."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lada.core.errors import InputError
from lada.core.registry import Options
from lada.trackers.base import TRACKERS, Status, require

SECONDS = 60
"""Seconds that the end of a run waits for unsent figures. They stay on disk, for `wandb sync`."""


class WandbOptions(Options):
    """Options of Weights & Biases. The API key is read from WANDB_API_KEY or from what `wandb login` stored."""

    project: str = "lada"
    """The project in which runs are listed."""
    entity: str | None = None
    """A user or team. None: the owner of the API key."""
    mode: Literal["online", "offline", "disabled"] = "online"
    """`offline` writes to the folder `wandb` in the run's folder, for `wandb sync`."""


@TRACKERS.register("wandb", options=WandbOptions)
class Wandb:
    """Weights & Biases, online or offline."""

    def __init__(self, options: WandbOptions) -> None:
        self.options = options
        self._wandb = require("wandb")
        if options.mode == "online" and not self._wandb.login(prompt=False, verify=False):
            raise InputError(
                "trackers.wandb: there is no API key; set WANDB_API_KEY, call `wandb login`, or choose mode: offline"
            )

    def start(self, name: str, config: Mapping[str, Any], folder: Path) -> None:
        """See Tracker.start. Code, console output and facts about the machine, which wandb collects by default, are
        left out."""
        self._run = self._wandb.init(
            project=self.options.project,
            entity=self.options.entity,
            mode=self.options.mode,
            name=name,
            config=dict(config),
            dir=str(folder),
            reinit="create_new",
            settings=self._wandb.Settings(
                console="off",
                save_code=False,
                disable_code=True,
                disable_git=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
                silent=True,
                finish_timeout=SECONDS,
                finish_timeout_raises=True,
            ),
        )
        # wandb's own steps may only rise, while late figures may belong to an earlier round.
        self._run.define_metric("*", step_metric="round")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See Tracker.log."""
        self._run.log({"round": step, **metrics})

    def finish(self, status: Status) -> None:
        """See Tracker.finish."""
        self._run.finish(exit_code=0 if status == "finished" else 1)

    def view(self) -> str:
        """See Viewable.view."""
        if self.options.mode == "online":
            return self._run.url
        if self.options.mode == "disabled":
            return "there is nothing, since mode is disabled"
        return f"wandb sync {shlex.quote(str(Path(self._run.dir).parent))}"
