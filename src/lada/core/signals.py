"""SIGTERM is handled like Ctrl-C, so that a service stops as tidily as a program in a terminal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM was sent to this process."""


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return the exit code of a stopped command: 128 plus the signal's number, as in a shell."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Raise Terminated, a KeyboardInterrupt, at SIGTERM. It has no effect outside the main thread."""
    try:
        before = signal.signal(signal.SIGTERM, _terminate)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore further signals: cleaning up takes seconds, and its leftovers would stay forever."""
    try:
        # Not SIG_IGN, which the processes that are started within would inherit.
        before = {number: signal.signal(number, _pass) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(_number: int, _frame: Any) -> None:
    raise Terminated


def _pass(_number: int, _frame: Any) -> None:
    """Do nothing."""
