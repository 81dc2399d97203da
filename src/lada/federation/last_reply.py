"""A client's own copies of the parts that it sent, named by their digests in the ledger, so that they can be searched.

A file is one part of a message as sent; equal parts share a file. A run never reads these files.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

FOLDER = "sent"
"""The name of the folder within the client's own folder."""


def keep(folder: Path, payload: Mapping[str, bytes]) -> None:
    """Write each part of a message into the client's `folder`, before it leaves."""
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    for data in payload.values():
        file = place / hashlib.sha256(data).hexdigest()
        if not file.exists():
            staged = file.with_suffix(".part")
            staged.write_bytes(data)
            staged.replace(file)


def read(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield digest and bytes of each unaltered part, sorted by digest, reading one at a time."""
    for file in sorted((folder / FOLDER).glob("*")):
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() == file.name:
            yield file.name, data


def is_kept(folder: Path) -> bool:
    """Return whether a client kept copies of what it sent."""
    return (folder / FOLDER).is_dir()
