"""Prepares a run before it can begin: checks its data and models, and opens its trackers."""

from collections.abc import Mapping
from pathlib import Path

import torch

from lada.codecs.base import CODECS, Codecs
from lada.config import RunConfig
from lada.federation import begun
from lada.federation.parties import check_model, read_task
from lada.objectives.base import OBJECTIVES
from lada.rounds.sizes import check_sizes
from lada.tasks.data import TaskData
from lada.trackers.base import TRACKERS, Tracker

Prepared = tuple[TaskData, Mapping[str, Tracker]]


def given(config: RunConfig, task: TaskData) -> dict[str, str]:
    """Return digests of all inputs of a run besides its configuration."""
    return {**begun.samples(task, [client.name for client in config.clients]), **begun.models(config)}


def prepare(config: RunConfig, base: Path) -> Prepared:
    """Return the task and the trackers. Raises InputError for wrong data or models."""
    torch.set_num_threads(1)  # the exact value of a sum depends on the number of threads
    task = read_task(config, base)
    objective, host = config.make(OBJECTIVES), config.make_host()
    host.check_task(task)
    first = host.plan(1, objective) if config.rounds else ()
    check_sizes(
        config.limits,
        first,
        task.public,
        objective.needs.signal.k if objective.needs.signal else 0,
        Codecs(config.make_all(CODECS)),
    )
    trackers = config.make_all(TRACKERS)
    models = {"server": config.server.model, **{f"clients.{c.name}": c.model for c in config.clients}}
    alike = {model.model_dump_json(): (model, owner) for owner, model in reversed(models.items()) if model is not None}
    for model, owner in reversed(alike.values()):  # of equal clients, only the first is checked
        check_model(model, owner)
    return task, trackers
