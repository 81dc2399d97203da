"""Locks a run's folder: one process at a time holds it, and others can see whether it is held."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lada.core.errors import InputError
from lada.core.owner import FOLDER

LOCK = ".lock"
PATIENCE = 0.5
"""Seconds to keep trying, since `is_locked` holds the lock for a moment."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Lock a run's folder. Raises InputError if another process holds it. A process that dies releases it.

    From now on, only the owner can access the folder, even if an earlier version created it.
    """
    busy = f"{str(folder)!r} is under way in another process; wait for its end, or end it before you resume"
    with alone(folder, busy, PATIENCE):
        folder.chmod(FOLDER)
        yield


@contextmanager
def alone(folder: Path, busy: str, patience: float = 0.0) -> Iterator[None]:
    """Lock a folder. Raises InputError with the text `busy` if another process still holds it after `patience`
    seconds."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise InputError(busy) from None
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)  # while it is locked: later, another process may hold the file
        lock.release()


def is_locked(folder: Path) -> bool:
    """Return whether a process holds a run's folder. It writes nothing, so read permission is enough.

    On a system without flock, only the presence of the file counts, which remains after a kill.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two readers do not see each other
    except (ImportError, BlockingIOError):
        return True
    finally:
        os.close(handle)
    return False
