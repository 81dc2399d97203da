"""The samples of a run: what comes of `task` in the configuration."""

from collections.abc import Mapping
from pathlib import Path

from lada.core.errors import InputError
from lada.tasks.data import TaskData
from lada.tasks.options import BuiltinTask, FilesTask, GymTask, HubTask


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
    if isinstance(options, BuiltinTask):  # each is imported where it is needed, and with it what reads its data
        from lada.tasks.builtin import load_builtin

        return load_builtin(options, clients, seed)
    if isinstance(options, GymTask):
        from lada.tasks.gym import load_gym

        return load_gym(options, clients, seed)
    if isinstance(options, HubTask):
        from lada.tasks.hub import load_corpus

        return load_corpus(options, clients, seed, base)
    from lada.tasks.user import load_files

    return load_files(options, clients, seed, base)
