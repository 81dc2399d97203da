"""Which corpus a run uses: `task` in the configuration, and the samples that come of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from lada.core.errors import InputError
from lada.tasks.builtin import BuiltinTask, load_builtin
from lada.tasks.data import TaskData
from lada.tasks.gym import GymTask, load_gym
from lada.tasks.hub import HubTask, load_corpus
from lada.tasks.user import FilesTask, load_files

TaskOptions = Annotated[BuiltinTask | FilesTask | HubTask | GymTask, Field(discriminator="kind")]
"""A union told apart by `kind`; use it as a field's type, or with pydantic.TypeAdapter."""


def load_task(
    options: BuiltinTask | FilesTask | HubTask | GymTask,
    clients: Mapping[str, tuple[str, ...]],
    seed: int,
    base: Path = Path(),
) -> TaskData:
    """Return the samples of a run; equal arguments give equal samples, in whatever order the clients stand.

    `clients` maps each client's name to the domains it lists, which may be none. Relative paths start at `base`.
    Raises InputError for data or domains that cannot be used; see `load_builtin`, `load_files`, `load_corpus` and
    `load_gym`.
    """
    if not clients:
        raise InputError("clients: there are none; expected at least one")
    if isinstance(options, BuiltinTask):
        return load_builtin(options, clients, seed)
    if isinstance(options, GymTask):
        return load_gym(options, clients, seed)
    if isinstance(options, HubTask):
        return load_corpus(options, clients, seed, base)
    return load_files(options, clients, seed, base)
