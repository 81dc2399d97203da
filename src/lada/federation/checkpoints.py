"""Checkpoints: a folder of files that is there as a whole or not at all, and says so when it was altered."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from lada.core.errors import LadaError

MANIFEST = "manifest.json"
"""SHA-256 of each file, by name."""
MISSING = "a file is missing or the manifest cannot be read"


def save(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` (relative names with `/`) as `folder`, in the place of what it held before.

    A crash at any moment leaves the old state or the new one for `load` to find. Raises ValueError for a name that
    leads out of the folder.
    """
    new, old = _sibling(folder, "new"), _sibling(folder, "old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    for name, data in {**files, MANIFEST: json.dumps(digests, indent=1).encode()}.items():
        if not _is_inside(name) or (name == MANIFEST and name in files):
            raise ValueError(f"{name!r} cannot be the name of a file in a checkpoint")
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        with (new / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    for inner in (new, *(path for path in new.rglob("*") if path.is_dir())):
        _sync(inner)
    if folder.exists():  # where it does not, `old` may be all there is: a crash came between the two renames
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def exists(folder: Path) -> bool:
    """Return whether there is a checkpoint to `load`."""
    return folder.exists() or _sibling(folder, "old").exists()


def load(folder: Path) -> dict[str, bytes]:
    """Return the files by name, sorted. Raises LadaError where one is missing or its bytes are not those written."""
    place, digests = _manifest(folder)
    try:
        files = {name: (place / name).read_bytes() for name in sorted(digests)}
    except OSError as error:
        raise _corrupted(folder, MISSING) from error
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != digests[name]:
            raise _corrupted(folder, f"{name} is not as it was written")
    return files


def verify(folder: Path) -> Path:
    """Return where the files of a checkpoint lie, read piece by piece. Raises LadaError as `load` does."""
    place, digests = _manifest(folder)
    for name in sorted(digests):
        try:
            with (place / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _corrupted(folder, MISSING) from error
        if found != digests[name]:
            raise _corrupted(folder, f"{name} is not as it was written")
    return place


def _manifest(folder: Path) -> tuple[Path, dict[str, str]]:
    """Return where a checkpoint lies, which after a crash is beside `folder`, and the digests of its files."""
    place = folder if folder.exists() else _sibling(folder, "old")
    try:
        digests = json.loads((place / MANIFEST).read_bytes())
        if not isinstance(digests, dict) or not all(map(_is_inside, digests)):
            raise ValueError
    except (OSError, ValueError) as error:
        raise _corrupted(folder, MISSING) from error
    return place, digests


def arrays_to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return named arrays in the safetensors format; equal arrays give equal bytes."""
    return safetensors.numpy.save({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)})


def bytes_to_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Return what `arrays_to_bytes` was given, sorted by name. Raises LadaError for anything else."""
    try:
        arrays = safetensors.numpy.load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise LadaError(f"arrays: not in the safetensors format ({error})") from error
    return dict(sorted(arrays.items()))


def _sibling(folder: Path, state: str) -> Path:
    return folder.with_name(f".{folder.name}.{state}")


def _is_inside(name: object) -> bool:
    if not isinstance(name, str) or "\\" in name:
        return False
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and str(path) == name


def _sync(folder: Path) -> None:
    """Make renames and new files of a folder survive a power cut, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _corrupted(folder: Path, why: str) -> LadaError:
    return LadaError(f"checkpoint {folder}: {why}; delete this folder to go on from the checkpoint before it")
