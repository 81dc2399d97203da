"""MLflow."""

import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import field_validator

from lada.core.nested import flat
from lada.core.registry import Options
from lada.trackers.base import TRACKERS, Status, require
from lada.trackers.figures import name as label

T = TypeVar("T")
BATCH = 100
"""The most parameters that a server accepts per request; it accepts more metrics."""
VALUE = 6000
"""The most characters that a server accepts in a parameter's value."""
STATES = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


class MlflowOptions(Options):
    """Options of MLflow. User, password and token are read from MLflow's environment variables."""

    tracking_uri: str | None = None
    """The address of a server, or a database such as `sqlite:///mlflow.db`. None: MLFLOW_TRACKING_URI, else MLflow's
    default."""
    experiment: str = "lada"
    """The experiment in which runs are listed."""

    @field_validator("tracking_uri")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        if value is not None and "@" in urlsplit(value).netloc:
            # The message does not repeat the address, since it may hold a password.
            raise ValueError(
                "expected an address without user and password; set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or the whole address as MLFLOW_TRACKING_URI"
            )
        return value


@TRACKERS.register("mlflow", options=MlflowOptions)
class Mlflow:
    """An MLflow server or database."""

    def __init__(self, options: MlflowOptions) -> None:
        self.options = options
        self._mlflow = require("mlflow")

    def start(self, name: str, config: Mapping[str, Any], folder: Path) -> None:
        """See Tracker.start. Unlike mlflow's own `start_run`, the client adds no tags about user, machine or code."""
        self._client = self._mlflow.MlflowClient(self.options.tracking_uri)
        found = self._client.get_experiment_by_name(self.options.experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self.options.experiment)
        self._run = self._client.create_run(experiment, run_name=name).info.run_id
        make = self._mlflow.entities.Param
        params = {label(key): str(value)[:VALUE] for key, value in flat(config)}
        for part in batches([make(key, value) for key, value in params.items()]):
            self._client.log_batch(self._run, params=part)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See Tracker.log."""
        now = int(1000 * time.time())
        make = self._mlflow.entities.Metric
        for part in batches([make(name, float(value), now, step) for name, value in metrics.items()]):
            self._client.log_batch(self._run, metrics=part)

    def finish(self, status: Status) -> None:
        """See Tracker.finish."""
        self._client.set_terminated(self._run, STATES[status])

    def view(self) -> str:
        """See Viewable.view."""
        uri = self.options.tracking_uri
        if uri is not None and urlsplit(uri).scheme in ("http", "https"):
            return uri
        return "mlflow ui" + (f" --backend-store-uri {shlex.quote(uri)}" if uri else "")


def batches(rows: Sequence[T]) -> list[Sequence[T]]:
    """Split rows into parts that fit into one request."""
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
