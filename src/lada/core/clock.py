"""A clock for one run that is unaffected by changes of the system's clock."""

import time
from collections.abc import Callable


def since(started: float) -> Callable[[], float]:
    """Return a function that gives the seconds since `started`, a Unix time; 0 or more, and never decreasing.

    The system's clock is read once. From then on, time follows the monotonic clock.
    """
    here, then = time.monotonic(), max(time.time() - started, 0.0)
    return lambda: then + time.monotonic() - here
