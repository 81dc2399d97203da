"""Why a client failed, left in its own folder: in a run on one machine the command reads it there and tells it.

What crosses the wire is a code and a reference number whatever the engine. In a deployment nobody but the client has
that folder.
"""

import json
from pathlib import Path

from lada.core.errors import InputError, LadaError, StudyError
from lada.core.sealed import write

FILE = "last-error.json"
TOLD: dict[str, type[LadaError]] = {kind.__name__: kind for kind in (InputError, StudyError)}
"""What a user can mend, and so is told of; all else stands in errors.log."""


def leave(folder: Path, reference: str, error: Exception) -> None:
    """Write down an error that can be mended, under the reference number that the server is given."""
    if type(error).__name__ in TOLD:
        told = {"reference": reference, "kind": type(error).__name__, "text": str(error)}
        write(folder / FILE, json.dumps(told).encode())


def find(folder: Path, reference: str) -> LadaError | None:
    """Return the error behind a reference number; None where it is none that can be mended, or was not written."""
    try:
        told = json.loads((folder / FILE).read_bytes())
        return TOLD[told["kind"]](told["text"]) if told["reference"] == reference else None
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not as it was written
        return None
