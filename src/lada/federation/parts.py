"""What a message carries, as files: a number for each kind, since a kind may have any name, and the kinds' names."""

import json
from collections.abc import Mapping
from pathlib import Path

KINDS = "kinds.json"


def to_files(payload: Mapping[str, bytes], folder: str) -> dict[str, bytes]:
    """Return the files to write, by name within `folder`."""
    kinds = sorted(payload)
    parts = {f"{folder}/{number}": payload[kind] for number, kind in enumerate(kinds)}
    return {f"{folder}/{KINDS}": json.dumps(kinds).encode(), **parts}


def from_files(folder: Path) -> dict[str, bytes]:
    """Return what `to_files` was given, from the folder that holds its files."""
    kinds = json.loads((folder / KINDS).read_bytes())
    return {kind: (folder / str(number)).read_bytes() for number, kind in enumerate(kinds)}
