"""Files of a run are private to their owner, whatever the shell's umask: files 0600 in folders 0700."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

OTHERS = 0o077
"""The permissions withheld from group and others."""
FOLDER = 0o700
FILE = 0o600

_lock = threading.Lock()
_within = 0
_before = 0


def owner_only() -> None:
    """Make everything that this process and its children write private to its owner; for LaDa's own processes."""
    os.umask(OTHERS)


@contextmanager
def for_owner() -> Iterator[None]:
    """Do the same for the duration of the block, in a process that may belong to others.

    A process has one umask. It applies to all threads and is restored when the last of several blocks ends.
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
