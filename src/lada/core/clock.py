"""A clock for one run that no change of the system's clock turns back."""

import time
from collections.abc import Callable


def since(started: float) -> Callable[[], float]:
    """Return what gives the seconds since `started`, a Unix time: from 0 on, and never less than it gave before.

    The system's clock is read once; from there on time passes as the monotonic clock says.
    """
    here, then = time.monotonic(), max(time.time() - started, 0.0)
    return lambda: then + time.monotonic() - here
