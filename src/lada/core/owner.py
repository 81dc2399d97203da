"""What LaDa writes of a run is for its owner alone, whatever the umask of the shell: files 0600 in folders 0700."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

OTHERS = 0o077
"""The permissions that group and others do not get."""
FOLDER = 0o700
FILE = 0o600

_lock = threading.Lock()
_within = 0
_before = 0


def owner_only() -> None:
    """From here on whatever this process and its children write is for their owner alone; for processes of ours."""
    os.umask(OTHERS)


@contextmanager
def for_owner() -> Iterator[None]:
    """The same for as long as the block lasts, in a process that may be somebody else's.

    A process has one umask: it holds for all threads, and goes back when the last of several blocks is left.
    """
    global _within, _before  # noqa: PLW0603 - what it guards is the process's too
    with _lock:
        if not _within:
            _before = os.umask(OTHERS)
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if not _within:
                os.umask(_before)
