"""A run's events.jsonl: processes append to it, and programs that follow the run read it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lada.core.clock import since

if TYPE_CHECKING:  # they import torch, which following a run does not need
    from lada.federation.parties import Place
    from lada.rounds.party import Emit

EVENTS, PLACE = "events.jsonl", "place.json"


def to_file(place: Place) -> Emit:
    """Return an Emit that appends to a run's file. Each event is written at once, so several processes may write."""

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
    """Remove a truncated last line of a killed run, and return whether there was one.

    The file need not exist.
    """
    if not file.exists():
        return False
    with file.open("r+b") as events:  # in place: readers must never find the file empty
        whole = sum(len(line) for line in events if line.endswith(b"\n"))
        torn = events.tell() > whole
        events.truncate(whole)
    return torn


def paused(events: Iterable[dict[str, Any]]) -> float:
    """Return the seconds in which no process worked on a run: the gaps before each start except the first.

    Events without a time are ignored, and a clock that went back counts as no gap.
    """
    timed = [event for event in events if isinstance(event.get("time"), int | float)]
    return sum(max(e["time"] - before["time"], 0.0) for before, e in pairwise(timed) if e.get("kind") == "run")


class Tail:
    """Reads a file of events from where it last stopped."""

    def __init__(self, file: Path, start: int = 0) -> None:
        """`start` is the offset, in bytes, of the first line to read. The file need not exist yet."""
        self.unreadable = 0
        """The number of lines that are not JSON objects, for example after a power cut; they are ignored."""
        self.rewritten = 0
        """How often the file was replaced or had become shorter; it is then read from its beginning."""
        self._file, self._offset = file, start
        self._inode: int | None = None

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield new events. An incomplete last line is read later."""
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
