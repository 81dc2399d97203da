"""A run's events.jsonl, for processes that only add to it."""

import json
import os
import time
from typing import Any

from lada.federation.parties import Place
from lada.hosts.party import Emit

EVENTS = "events.jsonl"


def to_file(place: Place) -> Emit:
    """Return an Emit that writes behind what a run's file holds, each event at once, so that several processes may."""

    def emit(event: dict[str, Any]) -> None:
        line = json.dumps({"time": round(time.time() - place.started, 3), **event}) + "\n"
        handle = os.open(place.folder / EVENTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    return emit
