"""What a client sent, kept by itself under the digests that the ledger has of it, so that it can be searched.

A file is one part of a message, as it left; equal parts share a file. Nothing here is ever read back into a run.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

FOLDER = "sent"
"""Within the client's own folder."""


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
    """Yield digest and bytes of each part that is there as it was written, sorted by digest; one is read at a time."""
    for file in sorted((folder / FOLDER).glob("*")):
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() == file.name:
            yield file.name, data


def is_kept(folder: Path) -> bool:
    """Return whether a client kept what it sent."""
    return (folder / FOLDER).is_dir()
