"""The state of the code at which a figure was measured, since a page may keep figures of earlier ones."""

import time
from collections.abc import Iterable

UNKNOWN = "a state that was not noted"


def state() -> str:
    """Return today's date and the commit of this checkout, with `+` behind it where files differ from it."""
    from lada.environment import commit  # here, since it imports torch, whose memory some benchmarks leave out

    name = commit()
    return f"{time.strftime('%Y-%m-%d')}, {name[:10] + name[40:] if name else UNKNOWN}"


def told(states: Iterable[str]) -> str:
    """Say in a sentence of which states the figures of a page are."""
    found = list(dict.fromkeys(states))
    if len(found) == 1:
        return f"State of the code: {found[0]}."
    return f"The figures are of several states of the code: {'; '.join(found)}."
