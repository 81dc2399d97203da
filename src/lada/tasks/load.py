"""Loads the samples of a run, as `task` in the configuration describes."""

from collections.abc import Mapping
from pathlib import Path

from lada.core.errors import InputError
from lada.tasks.data import TaskData
from lada.tasks.options import BuiltinTask, DigitsTask, FamiliesTask, FilesTask, GymTask, HubTask, TaskOptions


def check_named(options: TaskOptions, base: Path) -> None:
    """Raise InputError if a file or a corpus that a task names is missing. No samples are read.

    Relative paths start at `base`.
    """
    if isinstance(options, FilesTask):
        from lada.tasks.files import check_path

        train = (options.train,) if isinstance(options.train, str) else options.train or ()
        for path in (*train, options.public, options.replay, options.test):
            if path is not None:
                check_path(base / path)
    elif isinstance(options, HubTask):
        from lada.tasks.corpus import read_corpus
        from lada.tasks.hub import check_source

        read_corpus(options.corpus, base)
        if options.source is not None:
            check_source(base / options.source)


def load_task(
    options: TaskOptions,
    clients: Mapping[str, tuple[str, ...]],
    seed: int,
    base: Path = Path(),
) -> TaskData:
    """Return the samples of a run. Equal arguments give equal samples; the order of the clients does not matter.

    `clients` maps each client's name to the domains that it lists (possibly none). Relative paths start at `base`.
    Raises InputError for data or domains that cannot be used; see `load_builtin`, `load_files`, `load_corpus`,
    `load_gym`, `load_families` and
    `load_digits`.
    """
    if not clients:
        raise InputError("clients: there are none; expected at least one")
    if isinstance(options, BuiltinTask):  # each is imported only when needed, together with the readers of its data
        from lada.tasks.builtin import load_builtin

        return load_builtin(options, clients, seed)
    if isinstance(options, GymTask):
        from lada.tasks.gym import load_gym

        return load_gym(options, clients, seed)
    if isinstance(options, FamiliesTask):
        from lada.tasks.families.load import load_families

        return load_families(options, clients, seed)
    if isinstance(options, DigitsTask):
        from lada.tasks.digits import load_digits

        return load_digits(options, clients, seed)
    if isinstance(options, HubTask):
        from lada.tasks.hub import load_corpus

        return load_corpus(options, clients, seed, base)
    from lada.tasks.user import load_files

    return load_files(options, clients, seed, base)
