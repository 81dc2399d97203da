"""SIGTERM is treated as Ctrl-C is, so that a service is stopped as tidily as a program at a terminal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM was sent to this process."""


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return what a command that was stopped ends with: 128 and the signal's number, as a shell has it."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Raise Terminated, a KeyboardInterrupt, at SIGTERM; without effect in other threads than the main one."""
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
    """Leave a second signal without effect: tidying up takes seconds, and what is left of it would stay for ever."""
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
