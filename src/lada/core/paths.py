"""What exists at a path. A name that is too long for the system counts as missing."""

import errno
from collections.abc import Callable
from pathlib import Path


def exists(path: Path | str) -> bool:
    """Return whether something exists, as Path.exists does; False if the name is too long for the system."""
    return _there(Path(path).exists)


def is_file(path: Path | str) -> bool:
    """Return the same for a regular file."""
    return _there(Path(path).is_file)


def is_folder(path: Path | str) -> bool:
    """Return the same for a folder."""
    return _there(Path(path).is_dir)


def _there(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise
