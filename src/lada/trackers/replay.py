"""Sends a finished or interrupted run to a tracker: the same figures as live, read from events.jsonl."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lada.core.errors import InputError, LadaError
from lada.core.owner import for_owner
from lada.trackers.base import Status, Tracker
from lada.trackers.feed import Feed

FIX = "name the folder of a run"


@for_owner()
def replay(folder: Path, name: str, tracker: Tracker) -> None:
    """Feed the events of the run in `folder` to `tracker`, whose name is `name`.

    Raises InputError if the folder holds no run or a line is no event, LadaError if the tracker fails.
    """
    folder = folder.resolve()
    config = _config(folder)
    faults: list[str] = []
    feed = Feed({name: tracker}, folder, faults.append)
    feed.start(config)
    status: Status = "stopped"  # a run that was killed has no end event
    for number, event in read_events(folder):
        try:
            if event["kind"] == "round":
                feed.log()
            elif event["kind"] == "end":
                status = event["status"]
            feed.take(event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{folder}: events.jsonl, line {number} is no event that this version knows ({error!r}); {FIX}"
            ) from None
    feed.finish(status)
    if isinstance(error := feed.errors.get(name), OSError) and error.filename:
        raise error  # the command says which file it is, and what to do
    if faults:
        raise LadaError(f"tracker {name} failed; see {folder / 'trackers.log'}")


def read_events(folder: Path) -> Iterator[tuple[int, Any]]:
    """Yield number and content of each line of events.jsonl. A truncated last line is left out.

    Raises InputError if the file is missing or any other line is not JSON.
    """
    try:
        lines = (folder / "events.jsonl").open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{folder}: cannot read events.jsonl ({error.strerror}); {FIX}") from None
    with lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                return
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                raise InputError(f"{folder}: events.jsonl, line {number} is not JSON; {FIX}") from None


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{folder}: cannot read config.yaml ({error.strerror}); {FIX}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError(f"{folder}: config.yaml is not YAML; {FIX}") from None
    if not isinstance(config, dict):
        raise InputError(f"{folder}: config.yaml is not a mapping of keys to values; {FIX}")
    return config
