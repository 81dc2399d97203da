"""Creates a run's folder, or finds it again."""

import json
import os
import time
from pathlib import Path
from typing import Any

import yaml

from lada.config import RunConfig, make_config
from lada.core.errors import InputError, LadaError
from lada.core.owner import FOLDER
from lada.core.sealed import DIGESTS, seal, unseal
from lada.federation.begun import BEGUN
from lada.federation.events import PLACE
from lada.federation.parties import Place
from lada.points import chosen_points

CONFIG = "config.yaml"
MAY_DIFFER = (
    "engine",
    "workers",
    "timeout",
    "quorum",
    "rounds",
    *(point.key for point in chosen_points() if point.observes),
    "keep_messages",
    "membership_audit",
)
"""Keys that a resumed run may change: they do not affect what was computed or admitted so far."""


def new(runs: Path, config: RunConfig, base: Path) -> Place:
    """Create `runs/<name>`, or the first of `<name>-2`, `-3`, … that does not exist, and record the run there."""
    runs.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = _numbered(runs, config.name, number)
        try:
            folder.mkdir(mode=FOLDER)
        except FileExistsError:
            number += 1
            continue
        break
    return begin(folder, config, base)


def begin(folder: Path, config: RunConfig, base: Path) -> Place:
    """Record a run's configuration and place in its folder. Raises InputError for a link to a folder."""
    _check_no_link(folder)
    place = Place(folder.resolve(), base, time.time())
    seal(place.folder / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    seal(place.folder / PLACE, json.dumps({"base": str(base), "started": place.started}).encode())
    return place


def is_begun(folder: Path) -> bool:
    """Return whether a run's folder was used after its creation. If not, a run that was killed before begins there."""
    first = {CONFIG, PLACE, BEGUN, DIGESTS}
    return any(entry.name not in first and entry.suffix != ".next" for entry in folder.iterdir())


def newest(runs: Path, name: str) -> Path | None:
    """Return the run folder of that name with the highest number; None if there is none."""
    found, number = None, 1
    while os.path.lexists(folder := _numbered(runs, name, number)):
        found, number = folder, number + 1
    return found


def read(folder: Path) -> tuple[RunConfig, Place]:
    """Return the configuration and place of a run. Raises InputError if the folder is not a run's, or is a link to
    one."""
    _check_no_link(folder)
    try:
        data: Any = yaml.safe_load(unseal(folder / CONFIG).decode())
        place = json.loads(unseal(folder / PLACE))
        return make_config(data), Place(folder.resolve(), Path(place["base"]), float(place["started"]))
    except (LadaError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise InputError(
            f"{str(folder)!r} is not the folder of a run that can be resumed: it lacks a sound {CONFIG} or {PLACE} "
            f"({' '.join(str(error).split())}); expected a folder such as runs/demo, or leave out --resume to begin "
            "a new run"
        ) from error


def _check_no_link(folder: Path) -> None:
    if folder.is_symlink():
        raise InputError(
            f"{str(folder)!r} is a symbolic link, and what a run writes stays in its own folder; give the folder that "
            f"it leads to, {str(folder.resolve())!r}, if it is yours"
        )


def check_same(now: RunConfig, then: RunConfig, folder: Path) -> None:
    """Raise InputError, naming the keys, if a run would be resumed with another configuration."""
    a, b = (config.model_dump(mode="json", exclude={*MAY_DIFFER, "name"}) for config in (now, then))
    if differing := [key for key in a if a[key] != b[key]]:
        raise InputError(
            f"--resume: {', '.join(differing)} of the configuration differ from those that {str(folder)!r} was begun "
            f"with; only {', '.join(MAY_DIFFER)} may. Put them back, or begin a new run without --resume"
        )


def _numbered(runs: Path, name: str, number: int) -> Path:
    return runs / (name if number == 1 else f"{name}-{number}")
