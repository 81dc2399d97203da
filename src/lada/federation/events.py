"""A run's events.jsonl: written by processes that only add to it, read by those that follow a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lada.core.clock import since

if TYPE_CHECKING:  # with them comes torch, which nobody needs to follow a run
    from lada.federation.parties import Place
    from lada.rounds.party import Emit

EVENTS, PLACE = "events.jsonl", "place.json"


def to_file(place: Place) -> Emit:
    """Return an Emit that writes behind what a run's file holds, each event at once, so that several processes may."""

    now = since(place.started)

    def emit(event: dict[str, Any]) -> None:
        line = json.dumps({"time": round(now(), 3), **event}) + "\n"
        handle = os.open(place.folder / EVENTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    return emit


def mend(file: Path) -> bool:
    """Take away a last line that was cut short when a run was killed, and return whether there was one.

    The file need not be there.
    """
    if not file.exists():
        return False
    with file.open("r+b") as events:  # in place: whoever reads along must not find it empty for a moment
        whole = sum(len(line) for line in events if line.endswith(b"\n"))
        torn = events.tell() > whole
        events.truncate(whole)
    return torn


def paused(events: Iterable[dict[str, Any]]) -> float:
    """Return the seconds of a run in which nobody worked on it: those before each start of it but the first.

    An event without a time is passed over, and a clock that went back counts as none.
    """
    timed = [event for event in events if isinstance(event.get("time"), int | float)]
    return sum(max(e["time"] - before["time"], 0.0) for before, e in pairwise(timed) if e.get("kind") == "run")


class Tail:
    """Reads a file of events from where it last stopped."""

    def __init__(self, file: Path, start: int = 0) -> None:
        """`start` is the offset, in bytes, of the first line to read. The file need not be there yet."""
        self.unreadable = 0
        """Lines that are no JSON objects, as a power cut can leave them; they are passed over."""
        self.rewritten = 0
        """How often the file was another, or shorter, than before; it is then read from its beginning."""
        self._file, self._offset = file, start
        self._inode: int | None = None

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the events that are new. A last line that is not complete waits for its end."""
        try:
            lines = self._file.open("rb")
        except FileNotFoundError:
            return
        with lines:
            self._find(os.fstat(lines.fileno()))
            lines.seek(self._offset)
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    event = None
                if isinstance(event, dict):
                    yield event
                else:
                    self.unreadable += 1

    def _find(self, now: os.stat_result) -> None:
        if now.st_size < self._offset or self._inode not in (None, now.st_ino):
            self._offset = 0
            self.rewritten += 1
        self._inode = now.st_ino
