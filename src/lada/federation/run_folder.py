"""A run's folder: made anew or found again."""

import json
import os
import time
from pathlib import Path
from typing import Any

import yaml

from lada.config import RunConfig, make_config
from lada.core.errors import InputError
from lada.core.owner import FOLDER
from lada.federation.events import PLACE
from lada.federation.parties import Place

CONFIG = "config.yaml"
MAY_DIFFER = (
    "engine",
    "workers",
    "timeout",
    "quorum",
    "rounds",
    "limits",
    "trackers",
    "keep_messages",
    "membership_audit",
)
"""Keys that a resumed run may have otherwise: they do not change what was computed so far."""


def new(runs: Path, config: RunConfig, base: Path) -> Place:
    """Make `runs/<name>`, or the first of `<name>-2`, `-3`, … that is not there yet, and write down what it is of."""
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
    place = Place(folder.resolve(), base, time.time())
    _write(place.folder / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    _write(place.folder / PLACE, json.dumps({"base": str(base), "started": place.started}))
    return place


def newest(runs: Path, name: str) -> Path | None:
    """Return the run folder of that name with the highest number; None where there is none."""
    found, number = None, 1
    while os.path.lexists(folder := _numbered(runs, name, number)):
        found, number = folder, number + 1
    return found


def read(folder: Path) -> tuple[RunConfig, Place]:
    """Return the configuration and place of a run. Raises InputError for a folder that is none, or a link to one."""
    if folder.is_symlink():
        raise InputError(
            f"{str(folder)!r} is a symbolic link, and what a run writes stays in its own folder; give the folder that "
            f"it leads to, {str(folder.resolve())!r}, if it is yours"
        )
    try:
        data: Any = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        place = json.loads((folder / PLACE).read_bytes())
        return make_config(data), Place(folder.resolve(), Path(place["base"]), float(place["started"]))
    except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
        raise InputError(
            f"{str(folder)!r} is not the folder of a run that can be resumed: it lacks a sound {CONFIG} or {PLACE}; "
            "expected a folder such as runs/demo, or leave --resume away to begin anew"
        ) from error


def check_same(now: RunConfig, then: RunConfig, folder: Path) -> None:
    """Raise InputError, naming the keys, where a run is to be resumed with another configuration."""
    a, b = (config.model_dump(mode="json", exclude={*MAY_DIFFER, "name"}) for config in (now, then))
    if differing := [key for key in a if a[key] != b[key]]:
        raise InputError(
            f"--resume: {', '.join(differing)} of the configuration differ from those that {str(folder)!r} was begun "
            f"with; only {', '.join(MAY_DIFFER)} may. Put them back, or begin a new run without --resume"
        )


def _numbered(runs: Path, name: str, number: int) -> Path:
    return runs / (name if number == 1 else f"{name}-{number}")


def _write(file: Path, text: str) -> None:
    staged = file.with_name(f"{file.name}.next")
    staged.write_text(text, encoding="utf-8")
    staged.replace(file)
