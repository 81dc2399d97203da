"""Who is at work on a run: its folder is held by one process at a time, and others can see whether it is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lada.core.errors import InputError
from lada.core.owner import FOLDER

LOCK = ".lock"
PATIENCE = 0.5
"""Seconds to try, since `is_locked` holds the lock for a moment."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold a run's folder; InputError where another process does. A process that dies lets go of it.

    The folder is for its owner alone from here on, also one that an earlier version made.
    """
    busy = f"{str(folder)!r} is under way in another process; wait for its end, or end it before you resume"
    with alone(folder, busy, PATIENCE):
        folder.chmod(FOLDER)
        yield


@contextmanager
def alone(folder: Path, busy: str, patience: float = 0.0) -> Iterator[None]:
    """Hold a folder; InputError saying that it is `busy` where another process still does after `patience` seconds."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise InputError(busy) from None
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)  # while it is held: later another process may hold the file
        lock.release()


def is_locked(folder: Path) -> bool:
    """Return whether a process holds a run's folder. Writes nothing, so the right to read is enough.

    On a system without flock the presence of the file has to do, which outlives a run that was killed.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look do not see each other
    except (ImportError, BlockingIOError):
        return True
    finally:
        os.close(handle)
    return False
