"""The reason of a client's failure, stored in its own folder. In a run on one machine, the command reads and shows it.

Only a code and a reference number are sent, with every engine. In a deployment, only the client has this folder.
"""

import json
from pathlib import Path

from lada.core.errors import InputError, LadaError, StudyError
from lada.core.sealed import write

FILE = "last-error.json"
TOLD: dict[str, type[LadaError]] = {kind.__name__: kind for kind in (InputError, StudyError)}
"""Errors that a user can fix, and which are therefore shown; all others are only in errors.log."""


def leave(folder: Path, reference: str, error: Exception) -> None:
    """Store an error that a user can fix, under the reference number that the server receives."""
    if type(error).__name__ in TOLD:
        told = {"reference": reference, "kind": type(error).__name__, "text": str(error)}
        write(folder / FILE, json.dumps(told).encode())


def find(folder: Path, reference: str) -> LadaError | None:
    """Return the error behind a reference number; None if a user cannot fix it, or if it was not stored."""
    try:
        told = json.loads((folder / FILE).read_bytes())
        return TOLD[told["kind"]](told["text"]) if told["reference"] == reference else None
    except (OSError, ValueError, KeyError, TypeError):  # missing or altered
        return None
