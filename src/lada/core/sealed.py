"""Sealed files: each is written as a whole, and read only if unchanged.

`digests.json` in the folder holds the SHA-256 of each sealed file. While a file is rewritten, it also holds the old
digest, so that a crash at any moment leaves a valid file. A file that is not listed, for example one made by hand, is
accepted as it is.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from lada.core.errors import LadaError

DIGESTS = "digests.json"


def write(file: Path, data: bytes) -> None:
    """Write a file completely or not at all, even after a power cut. Its folder is created."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staged = file.with_name(f"{file.name}.next")
    staged.write_bytes(data)
    sync(staged)
    staged.replace(file)
    sync(file.parent)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut, if the system can."""
    if path.is_file() or hasattr(os, "O_DIRECTORY"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def seal(file: Path, data: bytes) -> None:
    """Write a sealed file. Only one process at a time may do so in a folder."""
    _list(file, _digest(data))
    write(file, data)


def _list(file: Path, digest: str) -> None:
    """List a file's coming digest and its current one."""
    try:
        known = _known(file.parent)
    except LadaError:
        known = {}  # what it listed counts as not listed from here on
    now = [_digest_of(file)] if file.exists() else []
    before = [digest for digest in now if digest in known.get(file.name, now)]
    write(file.parent / DIGESTS, json.dumps({**known, file.name: [digest, *before]}, indent=1).encode())


def seal_written(file: Path, fill: Callable[[Path], None]) -> None:
    """Do the same as `seal` for data too large for memory. `fill` writes it to the path that it receives."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staged = file.with_name(f"{file.name}.next")
    fill(staged)
    _list(file, _digest_of(staged))
    sync(staged)
    staged.replace(file)
    sync(file.parent)


def unseal(file: Path) -> bytes:
    """Return a file's bytes. Raises LadaError, naming the file, if it is missing or has changed."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from error
    _check(file, _digest(data))
    return data


def unsealed_file(file: Path) -> Path:
    """Return a file too large for memory after checking it. Raises LadaError as `unseal` does."""
    try:
        digest = _digest_of(file)
    except OSError as error:
        raise _unreadable(file, error) from error
    _check(file, digest)
    return file


def _unreadable(file: Path, error: OSError) -> LadaError:
    return LadaError(f"{str(file)!r} cannot be read ({error.strerror}); restore it from a copy")


def _check(file: Path, digest: str) -> None:
    if digest not in _known(file.parent).get(file.name, [digest]):
        raise LadaError(
            f"{str(file)!r} has changed since it was written; restore it from a copy, or remove it from {DIGESTS} if "
            "you changed it yourself"
        )


def unsealed(file: Path) -> None:
    """Remove a file and its digest."""
    known = _known(file.parent)
    if known.pop(file.name, None) is not None:
        if known:
            write(file.parent / DIGESTS, json.dumps(known, indent=1).encode())
        else:
            (file.parent / DIGESTS).unlink()
    file.unlink(missing_ok=True)


def is_sealed(file: Path) -> bool:
    """Return whether a file's digest is listed; the file itself may be missing. Raises LadaError as `unseal` does."""
    return file.name in _known(file.parent)


def _known(folder: Path) -> dict[str, list[str]]:
    file = folder / DIGESTS
    try:
        known = json.loads(file.read_bytes())
        if not known or any(not isinstance(digests, list) for digests in known.values()):
            raise ValueError
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise LadaError(
            f"{str(file)!r} cannot be read; restore it from a copy, or delete it to accept the files next to it as "
            "they are"
        ) from error
    return known


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
