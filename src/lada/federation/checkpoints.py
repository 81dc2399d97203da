"""Checkpoints: a folder of files that is written completely or not at all, and detects changes.

The previous checkpoint is kept next to the newest, so an invalid one costs a phase and not the run.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError

from lada.core.errors import LadaError
from lada.core.sealed import sync

FOLDER = "checkpoints"
"""Folder of a run that has those of its parties."""
MANIFEST = "manifest.json"
"""SHA-256 of each file, by name."""

Fill = Callable[[Path], Mapping[str, str] | None]
"""Writes files into a given empty folder. It may return the SHA-256 of files for which it is known."""


def files(contents: Mapping[str, bytes]) -> Fill:
    """Return a function that writes `contents` by relative name with `/`. Raises ValueError for a name outside the
    folder."""
    for name in contents:
        if not _is_inside(name) or name == MANIFEST:
            raise ValueError(f"{name!r} cannot be the name of a file in a checkpoint")

    def fill(folder: Path) -> dict[str, str]:
        for name, data in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}

    return fill


def link(source: Path, part: str, folder: Path) -> dict[str, str] | None:
    """Put the files of the folder `part` of another checkpoint into `folder` as hard links, and return their digests.

    If this is impossible, return None and leave nothing behind. Linked files must not be written to: everything that is
    saved is a new file.
    """
    try:
        digests = {name: digest for name, digest in manifest(source).items() if name.startswith(f"{part}/")}
        for name in digests:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(source / name, folder / name)
    except (LadaError, OSError):  # for example a file system without links
        shutil.rmtree(folder / part, ignore_errors=True)
        return None
    return digests or None


def save(folder: Path, fill: Fill) -> None:
    """Let `fill` write the files of `folder`; its former state becomes the previous checkpoint.

    After a crash at any moment, `find` finds the old state or the new one.
    """
    new, before = _sibling(folder, "new"), _sibling(folder, "before")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        known = fill(new) or {}
    except SafetensorError as error:  # what the system said stands in its text alone
        raise LadaError(f"{str(new)!r} cannot be written ({error}); make room, then continue with --resume") from error
    written = sorted(path for path in new.rglob("*") if path.is_file())
    names = {path.relative_to(new).as_posix(): path for path in written}
    digests = {name: known.get(name) or _digest(path) for name, path in names.items()}
    (new / MANIFEST).write_text(json.dumps(digests, indent=1), encoding="utf-8")
    for path in (*written, new / MANIFEST, *(path for path in new.rglob("*") if path.is_dir()), new):
        sync(path)
    if folder.exists():  # otherwise `before` may be the only one: a crash came between the two renames
        shutil.rmtree(before, ignore_errors=True)
        folder.rename(before)
    new.rename(folder)
    sync(folder.parent)


def exists(folder: Path) -> bool:
    """Return whether there is a checkpoint, complete or not."""
    return folder.exists() or _sibling(folder, "before").exists()


def newest(folder: Path) -> Path:
    """Return the path of the newest state that `exists`, without verifying it."""
    return folder if folder.exists() else _sibling(folder, "before")


def find(folder: Path, needed: Collection[str] = ()) -> tuple[Path, str | None]:
    """Return the path of the newest valid state and, if that is the previous one, the fault of the newest.

    Raises LadaError if neither is valid; `needed` are files that it must have.
    """
    fault: str | None = None
    for place in (folder, _sibling(folder, "before")):
        if place.exists():
            try:
                verify(place, needed)
            except LadaError as error:
                fault = fault or str(error)
            else:
                return place, fault
    raise LadaError(
        f"checkpoint {str(folder)!r}: {fault or 'there is none'}, and the previous one is not valid either; delete "
        "the folder to "
        "start again"
    )


def verify(folder: Path, needed: Collection[str] = (), unread: str | None = None) -> None:
    """Raise LadaError unless the files are those of the manifest, including `needed`, and unchanged.

    Files in the folder `unread` are not read.
    """
    digests = manifest(folder)
    for name in sorted(set(needed) - digests.keys()):
        raise LadaError(f"{name} is not in {MANIFEST}")
    for name, digest in digests.items():
        if unread is not None and name.startswith(f"{unread}/"):
            continue
        try:
            found = _digest(folder / name)
        except OSError as error:
            raise LadaError(f"{name} is missing or cannot be read") from error
        if found != digest:
            raise LadaError(f"{name} has changed since it was written")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in sorted(there - digests.keys() - {MANIFEST}):
        raise LadaError(f"{name} is not in {MANIFEST}")


def manifest(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, by name. Raises LadaError if the manifest cannot be read or is empty."""
    try:
        digests = json.loads((folder / MANIFEST).read_bytes())
        if not isinstance(digests, dict) or not digests or not all(map(_is_inside, digests)):
            raise ValueError
    except (OSError, ValueError) as error:
        raise LadaError(f"{MANIFEST} is missing or cannot be read") from error
    return digests


def remove(folder: Path) -> None:
    """Remove a checkpoint and the previous one, if they exist."""
    for place in (folder, _sibling(folder, "before"), _sibling(folder, "new")):
        shutil.rmtree(place, ignore_errors=True)


def _sibling(folder: Path, state: str) -> Path:
    return folder.with_name(f".{folder.name}.{state}")


def _is_inside(name: object) -> bool:
    if not isinstance(name, str) or "\\" in name:
        return False
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and str(path) == name


def _digest(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
