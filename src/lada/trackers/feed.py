"""Feeds a run's events to trackers, during the run or afterwards."""

import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lada.core.shown import shown
from lada.trackers.base import Status, Tracker
from lada.trackers.figures import Figures

LOG = "trackers.log"


class Feed:
    """The trackers of one run. A tracker that fails is switched off and reported once; the run continues."""

    def __init__(self, trackers: Mapping[str, Tracker], folder: Path, say: Callable[[str], None]) -> None:
        """`folder` is the run's folder; `say` receives a sentence about each tracker that failed."""
        self._trackers = dict(trackers)
        self._folder = folder
        self._say = say
        self.errors: dict[str, Exception] = {}
        """What each tracker that failed has raised."""
        self._figures = Figures()

    def start(self, config: Mapping[str, Any]) -> None:
        """Open the run, by its folder's name, in each tracker."""
        self._each(lambda tracker: tracker.start(self._folder.name, config, self._folder))

    def take(self, event: Mapping[str, Any]) -> None:
        """Keep the figures of an event until the next `log`. This writes and sends nothing, so it never blocks."""
        self._figures.take(event)

    def log(self) -> None:
        """Send the figures received since the last call."""
        taken, self._figures = self._figures, Figures()
        for round, values in taken.by_round().items():
            self._each(lambda tracker: tracker.log(round, values))  # noqa: B023 - called at once

    def finish(self, status: Status) -> None:
        """Send the remaining figures and close the run in each tracker."""
        self.log()
        self._each(lambda tracker: tracker.finish(status))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                call(tracker)
            except Exception as error:
                del self._trackers[name]
                self.errors[name] = error
                self._log(name)
                # The error's text may hold an address with a password from the environment, and the report shows
                # notices.
                self._say(
                    f"tracker {name} failed ({type(error).__name__}, see {LOG} in the run's folder) and was switched "
                    f"off; afterwards `lada track RUN --to {name}` hands it everything"
                )

    def _log(self, name: str) -> None:
        with suppress(OSError), (self._folder / LOG).open("a", encoding="utf-8") as log:  # the disk may be full
            log.write(f"{name}\n{shown(traceback.format_exc())}\n")
