"""Checkpoints: a folder of files that is there as a whole or not at all, and says so when it was altered.

The one before is kept beside the newest, so that one that does not verify costs a phase and not the run.
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

MANIFEST = "manifest.json"
"""SHA-256 of each file, by name."""

Fill = Callable[[Path], Mapping[str, str] | None]
"""Writes files into the empty folder that it is given. It may return the SHA-256 of those of which it knows it."""


def files(contents: Mapping[str, bytes]) -> Fill:
    """Return what writes `contents` by relative name with `/`. Raises ValueError for a name that leads elsewhere."""
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
    """Let `folder` have what lies in folder `part` of another checkpoint, as hard links, and return the digests.

    None, and nothing is left of it, where that cannot be. Nobody may write into files that are linked: whatever is
    saved is a new file.
    """
    try:
        digests = {name: digest for name, digest in manifest(source).items() if name.startswith(f"{part}/")}
        for name in digests:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(source / name, folder / name)
    except (LadaError, OSError):  # such as a file system without links
        shutil.rmtree(folder / part, ignore_errors=True)
        return None
    return digests or None


def save(folder: Path, fill: Fill) -> None:
    """Let `fill` write the files of `folder`, whose former state becomes the one before.

    A crash at any moment leaves the old state or the new one for `find` to find.
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
    if folder.exists():  # where it does not, `before` may be all there is: a crash came between the two renames
        shutil.rmtree(before, ignore_errors=True)
        folder.rename(before)
    new.rename(folder)
    sync(folder.parent)


def exists(folder: Path) -> bool:
    """Return whether there is a checkpoint, whole or not."""
    return folder.exists() or _sibling(folder, "before").exists()


def newest(folder: Path) -> Path:
    """Return where the newest state lies that `exists`, whole or not: nothing of it is verified."""
    return folder if folder.exists() else _sibling(folder, "before")


def find(folder: Path, needed: Collection[str] = ()) -> tuple[Path, str | None]:
    """Return where the newest state that verifies lies and, where that is the one before, what the newest lacks.

    Raises LadaError where neither verifies; `needed` are files that it must have.
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
        f"checkpoint {str(folder)!r}: {fault or 'there is none'}, and none before it is whole; delete the folder to "
        "begin again"
    )


def verify(folder: Path, needed: Collection[str] = (), unread: str | None = None) -> None:
    """Raise LadaError unless the files are those of the manifest, `needed` among them, with the bytes written.

    What lies in the folder `unread` is not looked into.
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
    """Return the SHA-256 of each file, by name; LadaError where that cannot be read or lists nothing."""
    try:
        digests = json.loads((folder / MANIFEST).read_bytes())
        if not isinstance(digests, dict) or not digests or not all(map(_is_inside, digests)):
            raise ValueError
    except (OSError, ValueError) as error:
        raise LadaError(f"{MANIFEST} is missing or cannot be read") from error
    return digests


def remove(folder: Path) -> None:
    """Remove a checkpoint and the one before it, where they are."""
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
