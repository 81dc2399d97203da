"""What lies at a path of the user's or of a file's: a name that no disk can hold is that of nothing."""

import errno
from collections.abc import Callable
from pathlib import Path


def exists(path: Path | str) -> bool:
    """Return whether something is there, as Path.exists does, and False where the name is too long for the system."""
    return _there(Path(path).exists)


def is_file(path: Path | str) -> bool:
    """Return the same of a regular file."""
    return _there(Path(path).is_file)


def is_folder(path: Path | str) -> bool:
    """Return the same of a folder."""
    return _there(Path(path).is_dir)


def _there(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise
